"""Rectifiers whose negative half has a trained slope.

Dimensions: P slots, N rows, H hidden units. `longhaul_trainers.nonlinearities` explains the three
forms of a nonlinearity.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from longhaul_trainers.nonlinearities import Nonlinearity, Pullback
from longhaul_trainers.settings import Settings, setting
from longhaul_trainers.slots import slot_vector


@dataclass(frozen=True, kw_only=True)
class PReLUSettings(Settings):
    """Where the slope starts."""

    name: ClassVar[str] = "prelu"
    slope: float = setting(0.25, help="initial slope of the negative half")


@dataclass(frozen=True, kw_only=True)
class SharedPReLUSettings(PReLUSettings):
    """Where the slope starts."""

    name: ClassVar[str] = "shared_prelu"


class _PReLU(Nonlinearity):
    keeps_inputs = True  # with a negative slope two z have one phi(z)
    shared: ClassVar[bool]

    def __init__(
        self,
        hidden_size: int,
        slots: Sequence[PReLUSettings],
        generators: Sequence[torch.Generator],
    ) -> None:
        super().__init__(hidden_size, slots, generators)
        start = slot_vector(slots, lambda slot: slot.slope)[:, None]
        self.slope = nn.Parameter(start.repeat(1, self.parameter_count(hidden_size)))

    @classmethod
    def parameter_count(cls, hidden_size: int) -> int:
        return 1 if cls.shared else hidden_size

    def forward(self, preactivation: Tensor) -> Tensor:
        rows = preactivation.shape[1]
        # slot by slot: the sum over the rows in the backward pass must not depend on P
        slope = torch.stack([one.expand(rows, -1) for one in self.slope.unbind()])
        return torch.where(preactivation > 0, preactivation, preactivation * slope)

    def in_place(self) -> Callable[[Tensor], object]:
        slope = self.slope.detach().unsqueeze(1)

        def apply(preactivation: Tensor) -> None:
            negative = preactivation * slope
            torch.where(preactivation > 0, preactivation, negative, out=preactivation)

        return apply

    def pullback(self, kept: Tensor) -> Pullback:
        return _PReLUPullback(kept, self.slope.detach()[:, None, None])


@final
class PReLU(_PReLU):
    """The rectifier with a slope of each unit's own on the negative half, which is trained.

    Reference: He, Zhang, Ren, Sun, "Delving Deep into Rectifiers", ICCV 2015, arXiv:1502.01852.
    """

    settings_type = PReLUSettings
    formula = "phi(z) = z for z > 0, else a z, with a trained slope a of each unit"
    shared = False


@final
class SharedPReLU(_PReLU):
    """The rectifier with one trained slope for all units.

    Reference: as `PReLU`, there "channel-shared".
    """

    settings_type = SharedPReLUSettings
    formula = "phi(z) = z for z > 0, else a z, with one trained slope a"
    shared = True


class _PReLUPullback(Pullback):
    def __init__(self, inputs: Tensor, slope: Tensor) -> None:
        steep = torch.ones_like(slope)
        self._slopes = torch.where(inputs > 0, steep, slope).unbind(1)
        # First min(z, 0), then that times the gradient by phi(z): what the slope's gradient sums.
        self._terms = inputs.clamp(max=0)
        self._steps = self._terms.unbind(1)
        self._shared = slope.shape[-1] == 1

    def step(self, index: int, gradient: Tensor) -> None:
        self._steps[index].mul_(gradient)
        gradient.mul_(self._slopes[index])

    def parameter_gradients(self, gradients: Tensor) -> tuple[Tensor, ...]:
        # Slot by slot: the order in which one sum over the pack adds up depends on P.
        sums = torch.stack([terms.flatten(0, 1).sum(0) for terms in self._terms])
        if self._shared:
            sums = torch.stack([one.sum(0, keepdim=True) for one in sums])
        return (sums,)
