"""Optimisers whose every hyperparameter is a vector over the slots of a pack.

The update rules are those of `torch.optim` (RMSprop uncentred, coupled weight decay in SGD, RMSprop
and Adam, decoupled in AdamW), which takes one number where a pack needs P. On a CPU the rules are
compiled: with torch, each of their operations passes over all memory.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from longhaul_trainers.catalogue import MANIFOLD_OPTIMIZERS, OPTIMIZERS
from longhaul_trainers.parameter_groups import ParameterGroup
from longhaul_trainers.scans.native.library import TYPES, run, serves
from longhaul_trainers.settings import Settings, setting


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings(Settings):
    """What every optimiser has."""

    learning_rate: float = setting(1e-3, gt=0, help="learning rate of the main parameters")
    weight_decay: float = setting(0.0, ge=0, help="L2 penalty, or decoupled decay for adamw")


@dataclass(frozen=True, kw_only=True)
class SGDSettings(OptimizerSettings):
    """Stochastic gradient descent."""

    name: ClassVar[str] = "sgd"
    momentum: float = setting(0.0, ge=0, lt=1, help="heavy-ball momentum")


@dataclass(frozen=True, kw_only=True)
class RMSpropSettings(OptimizerSettings):
    """RMSprop; 0.9 is the smoothing that the unitary and orthogonal papers used."""

    name: ClassVar[str] = "rmsprop"
    alpha: float = setting(0.9, ge=0, lt=1, help="smoothing of the squared gradient")
    eps: float = setting(1e-8, gt=0, help="added to the root of the squared gradient")


@dataclass(frozen=True, kw_only=True)
class AdamSettings(OptimizerSettings):
    """Adam (Kingma and Ba 2015, arXiv:1412.6980)."""

    name: ClassVar[str] = "adam"
    beta1: float = setting(0.9, ge=0, lt=1, help="smoothing of the gradient")
    beta2: float = setting(0.999, ge=0, lt=1, help="smoothing of the squared gradient")
    eps: float = setting(1e-8, gt=0, help="added to the root of the squared gradient")


@dataclass(frozen=True, kw_only=True)
class AdamWSettings(AdamSettings):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv:1711.05101)."""

    name: ClassVar[str] = "adamw"


class Optimizer(ABC):
    """Steps the parameters of one group.

    Args:
        group: parameters of shape (P, ...) and their learning-rate ratio (P,).
        slots: the settings of each of the P slots, instances of ``settings_type``.
    """

    settings_type: ClassVar[type[OptimizerSettings]]
    buffers: ClassVar[tuple[str, ...]] = ()
    """Names of the running averages that each parameter needs."""
    compiled: ClassVar[tuple[str, ...]] = ()
    """Where the rule is compiled under the optimiser's name: the hyperparameters that it takes."""

    def __init__(self, group: ParameterGroup, slots: Sequence[OptimizerSettings]) -> None:
        self.group = group
        self.slots = tuple(slots)
        device = group.parameters[0].device
        self._vectors = {
            name: torch.tensor([getattr(slot, name) for slot in slots], device=device)
            for name, value in vars(slots[0]).items()
            if isinstance(value, int | float)
        }
        self._vectors["learning_rate"] *= group.learning_rate_ratio.to(device)
        if group.weight_decay is not None:
            self._vectors["weight_decay"] = group.weight_decay.to(device)
        elif not group.decay:
            self._vectors["weight_decay"].zero_()
        table = [self._vectors[name] for name in self.compiled]
        self._table = torch.stack(table, 1) if table else torch.empty(len(slots), 0)
        self.steps = torch.zeros(len(slots), dtype=torch.float64, device=device)
        self.state = [
            {name: torch.zeros_like(parameter) for name in self.buffers_for(slots[0])}
            for parameter in group.parameters
        ]

    @classmethod
    def buffers_for(cls, settings: OptimizerSettings) -> tuple[str, ...]:
        """Names of the running averages that these settings need; ``buffers`` unless overridden."""
        return cls.buffers

    @torch.no_grad()
    def step(self, active: Tensor, scale: Tensor) -> None:
        """One update.

        Args:
            active: shape (P,), bool; slots that are False keep their parameters untouched.
            scale: shape (P,), multiplies the gradients (clipping).
        """
        self.steps += active
        for parameter, state in zip(self.group.parameters, self.state, strict=True):
            if parameter.grad is None:
                continue
            if self._step_compiled(parameter, parameter.grad, state, active, scale):
                continue
            gradient = parameter.grad * _along(scale, parameter)
            updated = self.updated(parameter, gradient, state)
            parameter.copy_(torch.where(_along(active, parameter), updated, parameter))

    def _step_compiled(
        self,
        parameter: Tensor,
        gradient: Tensor,
        state: dict[str, Tensor],
        active: Tensor,
        scale: Tensor,
    ) -> bool:
        """The same update by the compiled rule, where there is one for such a parameter."""
        sound = parameter.is_contiguous() and gradient.dtype == parameter.dtype
        if not (self.compiled and sound and serves(parameter)):
            return False
        numbers = self._table.to(parameter.dtype)
        gradient = gradient.contiguous()
        sizes = (len(self.slots), parameter.numel() // len(self.slots))
        averages = (*state.values(), *[None] * (2 - len(state)))
        name = f"{self.settings_type.name}_step_{TYPES[parameter.dtype]}"
        told = (active, scale, self.steps, numbers)
        run(name, *sizes, *told, parameter, gradient, *averages)
        return True

    @abstractmethod
    def updated(self, parameter: Tensor, gradient: Tensor, state: dict[str, Tensor]) -> Tensor:
        """The parameter after one step; may change ``state`` in place."""

    def vector(self, name: str, like: Tensor) -> Tensor:
        """A hyperparameter as a tensor that broadcasts against a parameter (P, ...)."""
        return _along(self._vectors[name], like)

    def coupled(self, parameter: Tensor, gradient: Tensor) -> Tensor:
        """The gradient with the L2 penalty's added."""
        return gradient + self.vector("weight_decay", parameter) * parameter


class SGD(Optimizer):
    """Gradient descent with heavy-ball momentum."""

    settings_type = SGDSettings
    buffers = ("velocity",)
    compiled = ("learning_rate", "weight_decay", "momentum")

    def updated(self, parameter: Tensor, gradient: Tensor, state: dict[str, Tensor]) -> Tensor:
        """See `Optimizer.updated`."""
        velocity = state["velocity"]
        velocity.mul_(self.vector("momentum", parameter)).add_(self.coupled(parameter, gradient))
        return parameter - self.vector("learning_rate", parameter) * velocity


class RMSprop(Optimizer):
    """Gradient over the root of its smoothed square."""

    settings_type = RMSpropSettings
    buffers = ("square",)
    compiled = ("learning_rate", "weight_decay", "alpha", "eps")

    def updated(self, parameter: Tensor, gradient: Tensor, state: dict[str, Tensor]) -> Tensor:
        """See `Optimizer.updated`."""
        gradient = self.coupled(parameter, gradient)
        alpha = self.vector("alpha", parameter)
        square = state["square"].mul_(alpha).add_((1 - alpha) * gradient.square())
        denominator = square.sqrt() + self.vector("eps", parameter)
        return parameter - self.vector("learning_rate", parameter) * gradient / denominator


class Adam(Optimizer):
    """Smoothed gradient over the root of its smoothed square, both corrected for their start."""

    settings_type = AdamSettings
    buffers = ("mean", "square")
    compiled = ("learning_rate", "weight_decay", "beta1", "beta2", "eps")

    def updated(self, parameter: Tensor, gradient: Tensor, state: dict[str, Tensor]) -> Tensor:
        """See `Optimizer.updated`."""
        return self._moved(parameter, self.coupled(parameter, gradient), state)

    def _moved(self, parameter: Tensor, gradient: Tensor, state: dict[str, Tensor]) -> Tensor:
        beta1, beta2 = self.vector("beta1", parameter), self.vector("beta2", parameter)
        mean = state["mean"].mul_(beta1).add_((1 - beta1) * gradient)
        square = state["square"].mul_(beta2).add_((1 - beta2) * gradient.square())
        correction1 = _along(self._correction("beta1"), parameter)
        correction2 = _along(self._correction("beta2"), parameter)
        denominator = (square / correction2).sqrt() + self.vector("eps", parameter)
        return parameter - self.vector("learning_rate", parameter) * (
            mean / correction1 / denominator
        )

    def _correction(self, beta: str) -> Tensor:
        # A slot that has not stepped yet is inactive: any finite value serves.
        taken = self.steps.clamp(min=1)
        return (1 - self._vectors[beta].double() ** taken).float()


class AdamW(Adam):
    """Adam whose decay bypasses the gradient."""

    settings_type = AdamWSettings

    def updated(self, parameter: Tensor, gradient: Tensor, state: dict[str, Tensor]) -> Tensor:
        """See `Optimizer.updated`."""
        decay = self.vector("learning_rate", parameter) * self.vector("weight_decay", parameter)
        return self._moved(parameter * (1 - decay), gradient, state)


class PackOptimizer:
    """The optimisers of all parameter groups of a pack.

    Args:
        groups: every parameter of the model, each in one group.
        slots: the settings of each slot's optimiser. A group that names another optimiser runs it
            with that optimiser's defaults and the slots' learning rates and decays.
    """

    def __init__(
        self, groups: Iterable[ParameterGroup], slots: Sequence[OptimizerSettings]
    ) -> None:
        self.optimizers = [_optimizer(group, slots) for group in groups]

    def step(self, active: Tensor, scale: Tensor) -> None:
        """See `Optimizer.step`."""
        for optimizer in self.optimizers:
            optimizer.step(active, scale)

    def tensors(self) -> dict[str, Tensor]:
        """The whole state by name, not copied."""
        found = {}
        for i, optimizer in enumerate(self.optimizers):
            found[f"{i}.steps"] = optimizer.steps
            for j, state in enumerate(optimizer.state):
                found |= {f"{i}.{j}.{name}": tensor for name, tensor in state.items()}
        return found


def gradient_norms(parameters: Iterable[nn.Parameter], pack_size: int) -> Tensor:
    """Euclidean norm of each slot's whole gradient, shape (P,), float64."""
    gradients = [one.grad for one in parameters if one.grad is not None]
    if all(serves(one) for one in gradients):
        total = torch.zeros(pack_size, dtype=torch.float64)
        for gradient in gradients:
            sizes = (pack_size, gradient.numel() // pack_size)
            run(f"add_squares_{TYPES[gradient.dtype]}", *sizes, gradient.contiguous(), total)
        return total.sqrt()
    squares = [one.reshape(pack_size, -1).double().square().sum(1) for one in gradients]
    # One after the other: a reduction over a stack adds in an order that depends on P.
    total = squares[0]
    for square in squares[1:]:
        total = total + square
    return total.sqrt()


def _optimizer(group: ParameterGroup, slots: Sequence[OptimizerSettings]) -> Optimizer:
    name = group.optimizer or slots[0].name
    catalogue = OPTIMIZERS if name in OPTIMIZERS.names() else MANIFOLD_OPTIMIZERS
    optimizer_type: type[Optimizer] = catalogue.get(name)
    if name != slots[0].name or group.options is not None:
        slots = [
            optimizer_type.settings_type(
                learning_rate=slot.learning_rate, weight_decay=slot.weight_decay, **options
            )
            for slot, options in zip(slots, group.options or [{}] * len(slots), strict=True)
        ]
    return optimizer_type(group, slots)


def _along(vector: Tensor, parameter: Tensor) -> Tensor:
    """A vector (P,) that broadcasts against a parameter (P, ...)."""
    return vector.reshape(-1, *[1] * (parameter.dim() - 1))
