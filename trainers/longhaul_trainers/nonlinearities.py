"""The functions phi of h' = phi(W h + V x + b).

Dimensions: P slots, N rows (a batch, or all steps of a batch), H hidden units.

A nonlinearity is written three times: differentiable, in place for the forward scan, and as a
`Pullback` for the backward scan. Wherever phi' can be told from phi(z), the scan keeps phi(z)
alone: one tensor a step instead of two.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal, final

import torch
from torch import Tensor, nn

from longhaul_trainers.initialisation import uniform
from longhaul_trainers.settings import Settings, setting
from longhaul_trainers.slots import slot_vector, stack_slots


class Pullback(ABC):
    """A nonlinearity's backward pass over one scan of T steps."""

    @abstractmethod
    def step(self, index: int, gradient: Tensor) -> None:
        """Turns, in place, the loss's gradient by phi(z) of one step into that by z.

        Args:
            index: the step, counted from 0; called from the last to the first.
            gradient: shape (P, B, H).
        """

    def parameter_gradients(self, gradients: Tensor) -> tuple[Tensor, ...]:
        """Gradients of the parameters, in the order of ``parameters()``, after the last step.

        Args:
            gradients: the loss's gradient by z of all steps, shape (P, N, H), N = T B.
        """
        return ()


class Nonlinearity(nn.Module, ABC):
    """A function of a pack, of each row alone, possibly with parameters of shape (P, H).

    Args:
        hidden_size: H.
        slots: the settings of each of the P slots.
        generators: one CPU generator a slot.
    """

    settings_type: ClassVar[type[Settings]]
    formula: ClassVar[str]
    """phi(z) as plain text."""
    keeps_inputs: ClassVar[bool] = False
    """Whether the backward pass needs z; otherwise it gets phi(z)."""

    def __init__(
        self,
        hidden_size: int,
        slots: Sequence[Settings],
        generators: Sequence[torch.Generator],
    ) -> None:
        super().__init__()

    @classmethod
    def check_size(cls, hidden_size: int) -> None:
        """Refuses a number of entries a row; by default none.

        Raises:
            SettingError: at ``hidden_size``.
        """

    @classmethod
    def parameter_count(cls, hidden_size: int) -> int:
        """Number of trainable parameters of one slot."""
        return 0

    @abstractmethod
    def forward(self, preactivation: Tensor) -> Tensor:
        """phi(z) for z of shape (P, N, H), differentiable."""

    @abstractmethod
    def in_place(self) -> Callable[[Tensor], object]:
        """A function that overwrites z of shape (P, B, H) by phi(z), to be called once a step.

        What is the same for all steps is computed here, once.
        """

    def compiled(self, hidden_size: int) -> tuple[int, Tensor] | None:
        """What the compiled scans call this function, and its parameter of each unit.

        Returns:
            The number in ``scans/native/phi.hpp`` and a tensor (P, H) or (1, H); None for a
            function that they do not have.
        """
        return None

    def compiled_for(self, states: Tensor) -> tuple[int, Tensor] | None:
        """As `compiled`, for the slots of a pack and where its states are.

        Args:
            states: shape (P, ..., H); tells device, type and sizes.

        Returns:
            The number and a contiguous tensor (P, H); None where `compiled` gives none.
        """
        found = self.compiled(states.shape[-1])
        if found is None:
            return None
        code, parameter = found
        same = parameter.detach().to(states, non_blocking=True)
        return code, same.expand(states.shape[0], -1).contiguous()

    @abstractmethod
    def pullback(self, kept: Tensor) -> Pullback:
        """The backward pass of one scan.

        Args:
            kept: phi(z) of all steps, or z with ``keeps_inputs``, shape (P, T, B, H); a view whose
                slots are not adjacent.
        """


class _Elementwise(Pullback):
    """The backward pass of a function of each number alone.

    Args:
        kept: as `Nonlinearity.pullback` gets it.
        derivative: phi'(z) of all of them at once; not called where the scan has its own.
    """

    def __init__(self, kept: Tensor, derivative: Callable[[Tensor], Tensor]) -> None:
        self._kept = kept
        self._derivative = derivative

    @cached_property
    def _slopes(self) -> Sequence[Tensor]:
        return self._derivative(self._kept).unbind(1)

    def step(self, index: int, gradient: Tensor) -> None:
        gradient.mul_(self._slopes[index])


@dataclass(frozen=True, kw_only=True)
class TanhSettings(Settings):
    """No settings."""

    name: ClassVar[str] = "tanh"


@final
class Tanh(Nonlinearity):
    """The hyperbolic tangent."""

    settings_type = TanhSettings
    formula = "phi(z) = tanh(z)"

    def forward(self, preactivation: Tensor) -> Tensor:
        return preactivation.tanh()

    def in_place(self) -> Callable[[Tensor], object]:
        return Tensor.tanh_

    def compiled(self, hidden_size: int) -> tuple[int, Tensor] | None:
        return 1, torch.zeros(1, hidden_size)

    def pullback(self, kept: Tensor) -> Pullback:
        return _Elementwise(kept, lambda outputs: 1 - outputs * outputs)


@dataclass(frozen=True, kw_only=True)
class ReLUSettings(Settings):
    """No settings."""

    name: ClassVar[str] = "relu"


@final
class ReLU(Nonlinearity):
    """The rectifier; its derivative at 0 is taken as 0."""

    settings_type = ReLUSettings
    formula = "phi(z) = max(z, 0)"

    def forward(self, preactivation: Tensor) -> Tensor:
        return preactivation.relu()

    def in_place(self) -> Callable[[Tensor], object]:
        return Tensor.relu_

    def compiled(self, hidden_size: int) -> tuple[int, Tensor] | None:
        return 2, torch.zeros(1, hidden_size)

    def pullback(self, kept: Tensor) -> Pullback:
        return _Elementwise(kept, lambda outputs: (outputs > 0).to(outputs.dtype))


@dataclass(frozen=True, kw_only=True)
class IdentitySettings(Settings):
    """No settings."""

    name: ClassVar[str] = "identity"


@final
class Identity(Nonlinearity):
    """No nonlinearity: a linear recurrence."""

    settings_type = IdentitySettings
    formula = "phi(z) = z"

    def forward(self, preactivation: Tensor) -> Tensor:
        return preactivation

    def in_place(self) -> Callable[[Tensor], object]:
        return _leave

    def compiled(self, hidden_size: int) -> tuple[int, Tensor] | None:
        return 0, torch.zeros(1, hidden_size)

    def pullback(self, kept: Tensor) -> Pullback:
        return _Unchanged()


class _Unchanged(Pullback):
    def step(self, index: int, gradient: Tensor) -> None:
        """The derivative is 1."""


def _leave(preactivation: Tensor) -> None:
    """Identity in place."""


@dataclass(frozen=True, kw_only=True)
class LeakyReLUSettings(Settings):
    """The slope of each trial may differ inside a pack."""

    name: ClassVar[str] = "leaky_relu"
    slope: float = setting(0.01, ge=0, lt=1, help="slope of the negative half")


@final
class LeakyReLU(Nonlinearity):
    """The rectifier with a small slope on the negative half."""

    settings_type = LeakyReLUSettings
    formula = "phi(z) = max(z, slope z)"
    slope: Tensor

    def __init__(
        self,
        hidden_size: int,
        slots: Sequence[LeakyReLUSettings],
        generators: Sequence[torch.Generator],
    ) -> None:
        super().__init__(hidden_size, slots, generators)
        self.register_buffer("slope", slot_vector(slots, lambda slot: slot.slope)[:, None, None])

    def forward(self, preactivation: Tensor) -> Tensor:
        return torch.where(preactivation > 0, preactivation, preactivation * self.slope)

    def in_place(self) -> Callable[[Tensor], object]:
        slope = self.slope

        def apply(preactivation: Tensor) -> None:
            torch.maximum(preactivation, preactivation * slope, out=preactivation)

        return apply

    def compiled(self, hidden_size: int) -> tuple[int, Tensor] | None:
        return 3, self.slope.view(-1, 1).expand(-1, hidden_size)

    def pullback(self, kept: Tensor) -> Pullback:
        slope = self.slope.unsqueeze(1)
        steep = torch.ones_like(slope)
        return _Elementwise(kept, lambda outputs: torch.where(outputs > 0, steep, slope))


BiasInit = Literal["uniform", "zero", "constant"]


@dataclass(frozen=True, kw_only=True)
class ModReLUSettings(Settings):
    """Offset and initial bias; see `ModReLU` for what each paper used."""

    name: ClassVar[str] = "modrelu"
    offset: float = setting(0.0, ge=0, help="constant c added to |z|")
    bias_init: BiasInit = setting("uniform", help="initial bias: uniform on ±0.01, 0, or 0.01")


def draw_modrelu_bias(init: BiasInit, units: int, generator: torch.Generator) -> Tensor:
    """One slot's initial biases, shape (units,)."""
    if init == "uniform":
        return uniform(-0.01, 0.01, units, generator=generator)
    return torch.full((units,), 0.01 if init == "constant" else 0.0)


@final
class ModReLU(Nonlinearity):
    """The rectifier of the modulus, here of a real number: the sign is kept.

    A unit whose z is exactly 0 gives 0 whatever its bias, since sign(0) = 0, and passes no
    gradient; with a zero initial state, zero input and no other bias it stays there.

    The published cells differ, which ``offset`` and ``bias_init`` reproduce:

    ====================== ============== ===================
    cell                   offset c       initial bias
    ====================== ============== ===================
    EUNN (real)            0.01           uniform
    GORU                   0.001          constant
    scoRNN                 0              zero
    expRNN, dtriv          0              uniform
    ====================== ============== ===================

    Reference: Arjovsky, Shah, Bengio, "Unitary Evolution Recurrent Neural Networks", ICML 2016,
    arXiv:1511.06464, equation 8.
    Differs from the paper: real instead of complex numbers, as in scoRNN and expRNN; for complex
    ones see `longhaul_trainers.complex_modrelu.ComplexModReLU`.
    """

    settings_type = ModReLUSettings
    formula = "phi(z) = sign(z) max(|z| + c + a, 0), with a trained bias a and a constant c"
    offset: Tensor

    def __init__(
        self,
        hidden_size: int,
        slots: Sequence[ModReLUSettings],
        generators: Sequence[torch.Generator],
    ) -> None:
        super().__init__(hidden_size, slots, generators)

        def draw(slot: ModReLUSettings, generator: torch.Generator) -> Tensor:
            return draw_modrelu_bias(slot.bias_init, hidden_size, generator)

        self.bias = stack_slots(slots, generators, draw)
        self.register_buffer("offset", slot_vector(slots, lambda slot: slot.offset)[:, None])

    @classmethod
    def parameter_count(cls, hidden_size: int) -> int:
        return hidden_size

    def _threshold(self) -> Tensor:
        return (self.bias + self.offset).unsqueeze(1)

    def forward(self, preactivation: Tensor) -> Tensor:
        return preactivation.sign() * (preactivation.abs() + self._threshold()).relu()

    def in_place(self) -> Callable[[Tensor], object]:
        threshold = self._threshold()

        def apply(preactivation: Tensor) -> None:
            sign = preactivation.sign()
            preactivation.abs_().add_(threshold).relu_().mul_(sign)

        return apply

    def compiled(self, hidden_size: int) -> tuple[int, Tensor] | None:
        return 4, self.bias + self.offset

    def pullback(self, kept: Tensor) -> Pullback:
        return _ModReLUPullback(kept)


class _ModReLUPullback(_Elementwise):
    def __init__(self, outputs: Tensor) -> None:
        super().__init__(outputs, lambda outputs: (outputs != 0).to(outputs.dtype))

    def parameter_gradients(self, gradients: Tensor) -> tuple[Tensor, ...]:
        # Slot by slot: the order in which one sum over the pack adds up depends on P.
        pairs = zip(gradients, self._kept.flatten(1, 2), strict=True)
        return (torch.stack([(gradient * output.sign()).sum(0) for gradient, output in pairs]),)
