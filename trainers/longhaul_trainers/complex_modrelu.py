"""The modReLU of complex units, in real form.

Dimensions: P slots, N rows, H numbers a row: the real parts of n = H/2 units, then their imaginary
parts. `longhaul_trainers.nonlinearities` has the real functions and explains the three forms.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from longhaul_trainers.errors import SettingError
from longhaul_trainers.nonlinearities import (
    ModReLUSettings,
    Nonlinearity,
    Pullback,
    draw_modrelu_bias,
)
from longhaul_trainers.settings import setting
from longhaul_trainers.slots import slot_vector, stack_slots


@dataclass(frozen=True, kw_only=True)
class ComplexModReLUSettings(ModReLUSettings):
    """Offsets and initial bias; see `ComplexModReLU` for what each paper used."""

    name: ClassVar[str] = "complex_modrelu"
    epsilon: float = setting(1e-5, ge=0, help="constant e added to the |z| that divides")


@final
class ComplexModReLU(Nonlinearity):
    """The rectifier of the modulus of complex numbers: the phase is kept.

    A row holds the real parts of all units, then the imaginary ones; unit i couples the entries i
    and i + n and has one bias, so there are n biases for 2n numbers.

    The published programs differ, which the settings reproduce. The offset c changes nothing but
    where the threshold lies; e shrinks small numbers, and is what keeps the slope at z = 0, which
    is (c + a) / (c + e), finite: with c = 0 and e = 1e-5 a bias of 0.01 multiplies numbers much
    smaller than e by a thousand. With c = e = 0 a unit whose z is 0 gives 0 and passes no gradient.

    ====================== ============== ============== ===================
    cell                   offset c       epsilon e      initial bias
    ====================== ============== ============== ===================
    uRNN, full uRNN        0              1e-5           uniform
    EUNN                   0.01           0              uniform
    scuRNN                 0              1e-5           uniform
    ====================== ============== ============== ===================

    Reference: Arjovsky, Shah, Bengio, "Unitary Evolution Recurrent Neural Networks", ICML 2016,
    arXiv:1511.06464, equation 8.
    Differs from the paper: that one has c = e = 0, its program e = 1e-5.
    """

    settings_type = ComplexModReLUSettings
    formula = (
        "phi(z) = z / (|z| + c + e) max(|z| + c + a, 0) for complex z, with a trained bias a and "
        "constants c and e"
    )
    keeps_inputs = True
    offset: Tensor
    epsilon: Tensor

    def __init__(
        self,
        hidden_size: int,
        slots: Sequence[ComplexModReLUSettings],
        generators: Sequence[torch.Generator],
    ) -> None:
        super().__init__(hidden_size, slots, generators)
        self.check_size(hidden_size)
        units = hidden_size // 2
        self.bias = stack_slots(
            slots, generators, lambda slot, drawn: draw_modrelu_bias(slot.bias_init, units, drawn)
        )
        self.register_buffer("offset", slot_vector(slots, lambda slot: slot.offset)[:, None])
        self.register_buffer("epsilon", slot_vector(slots, lambda slot: slot.epsilon)[:, None])

    @classmethod
    def check_size(cls, hidden_size: int) -> None:
        if hidden_size % 2:
            problem = f"complex_modrelu needs pairs of real numbers, found {hidden_size} of them"
            raise SettingError("hidden_size", problem)

    @classmethod
    def parameter_count(cls, hidden_size: int) -> int:
        return hidden_size // 2

    def forward(self, preactivation: Tensor) -> Tensor:
        z = _pairs(preactivation)
        square = _dot(z, z)
        zero = square == 0
        # The root has no derivative at 0: there the modulus is the constant 0.
        modulus = torch.where(zero, torch.ones_like(square), square).sqrt()
        modulus = torch.where(zero, torch.zeros_like(square), modulus)
        divisor = modulus + self._beside()
        factor = (modulus + self._threshold()).relu() / divisor.masked_fill(divisor == 0, 1)
        factor = factor.masked_fill(divisor == 0, 0)
        return (z * factor.unsqueeze(-2)).flatten(-2)

    def in_place(self) -> Callable[[Tensor], object]:
        threshold, beside = self._threshold(), self._beside()
        divides_by_zero = bool((beside == 0).any())

        def apply(preactivation: Tensor) -> None:
            z = _pairs(preactivation)
            modulus = _dot(z, z).sqrt_()
            divisor = modulus + beside
            factor = modulus.add_(threshold).relu_().div_(divisor)
            if divides_by_zero:
                factor.masked_fill_(divisor == 0, 0)
            z.mul_(factor.unsqueeze(-2))

        return apply

    def pullback(self, kept: Tensor) -> Pullback:
        bias = self.bias.detach()[:, None, None]
        beside = self._beside().unsqueeze(1)
        return _ComplexModReLUPullback(kept, bias, self.offset[:, None, None], beside)

    def _threshold(self) -> Tensor:
        return (self.offset + self.bias).unsqueeze(1)

    def _beside(self) -> Tensor:
        return (self.offset + self.epsilon).unsqueeze(1)


class _ComplexModReLUPullback(Pullback):
    """phi = z f(|z|), so the gradient g becomes f g + f' / |z| (z . g) z, unit by unit."""

    def __init__(self, inputs: Tensor, bias: Tensor, offset: Tensor, beside: Tensor) -> None:
        z = _pairs(inputs)
        modulus = _dot(z, z).sqrt_()
        divisor = modulus + beside
        numerator = modulus + (offset + bias)
        dead = (numerator <= 0) | (divisor == 0)
        factor = (numerator / divisor).masked_fill_(dead, 0)
        # f' = ((c + e) - (c + a)) / divisor^2
        radial = (beside - (offset + bias)) / (divisor * divisor * modulus)
        radial.masked_fill_(dead | (modulus == 0), 0)
        self._by_bias = (1 / divisor).masked_fill_(dead, 0)
        self._inputs = z.unbind(1)
        self._factors = factor.unsqueeze(-2).unbind(1)
        self._radial = radial.unbind(1)
        self._products = torch.empty_like(factor)
        self._product = self._products.unbind(1)

    def step(self, index: int, gradient: Tensor) -> None:
        g, z = _pairs(gradient), self._inputs[index]
        product = _dot(z, g)
        self._product[index].copy_(product)
        g.mul_(self._factors[index]).add_(z * product.mul_(self._radial[index]).unsqueeze(-2))

    def parameter_gradients(self, gradients: Tensor) -> tuple[Tensor, ...]:
        # Slot by slot: the order in which one sum over the pack adds up depends on P.
        pairs = zip(self._products.flatten(1, 2), self._by_bias.flatten(1, 2), strict=True)
        return (torch.stack([(product * factor).sum(0) for product, factor in pairs]),)


def _pairs(numbers: Tensor) -> Tensor:
    """A view (..., 2, n) of numbers (..., 2n): the real parts, the imaginary parts."""
    viewed: Tensor = numbers.unflatten(-1, (2, -1))
    return viewed


def _dot(one: Tensor, other: Tensor) -> Tensor:
    """Re x Re y + Im x Im y, shape (..., n)."""
    products = one * other
    return products[..., 0, :] + products[..., 1, :]
