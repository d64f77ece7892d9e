"""W = A_1 x A_2 x ... x A_F: a Kronecker product of small matrices."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from longhaul_trainers.errors import SettingError
from longhaul_trainers.initialisation import haar_orthogonal, haar_unitary
from longhaul_trainers.matrices.base import RecurrentMatrix, RecurrentSettings, recurrent_group
from longhaul_trainers.matrices.complex_form import real_form
from longhaul_trainers.parameter_groups import ParameterGroup
from longhaul_trainers.settings import setting
from longhaul_trainers.slots import slot_vector, stack_slots


@dataclass(frozen=True, kw_only=True)
class KroneckerSettings(RecurrentSettings):
    """What cells with a Kronecker product have."""

    name: ClassVar[str] = "kronecker"
    factor_size: int = setting(
        2,
        ge=2,
        structural=True,
        help="rows q of a factor; hidden_size is q^k r with r < q, which makes k of them and one "
        "of r rows",
    )
    complex_valued: bool = setting(
        True, structural=True, help="whether units and factors are complex, or real"
    )
    unitary_penalty: float = setting(
        0.01, ge=0, help="lambda of the penalty lambda * sum over factors of |A^* A - I|^2"
    )

    def factor_sizes(self, hidden_size: int) -> list[int]:
        """Rows of each factor.

        Raises:
            SettingError: ``hidden_size`` is no such product.
        """
        sizes, rest = [], hidden_size
        while rest % self.factor_size == 0:
            sizes.append(self.factor_size)
            rest //= self.factor_size
        if rest > self.factor_size:
            wanted = f"{self.factor_size}^k r with r < {self.factor_size} (factor_size)"
            raise SettingError("hidden_size", f"expected {wanted}, found {hidden_size}")
        return sizes + [rest] * (rest > 1 or not sizes)


@final
class KroneckerMatrix(RecurrentMatrix):
    """W is the Kronecker product of square factors, held near the unitary ones by a penalty.

    It is unitary where all factors are. With factors of two rows there are 8 log2 H numbers, or
    4 log2 H real ones; with one factor of H rows W is any matrix. The factors start unitary,
    uniformly distributed (orthogonal if real). Complex, because real factors near orthogonal ones
    never change the sign of their determinants.
    """

    settings_type = KroneckerSettings
    formula = "W = A_1 x ... x A_F (Kronecker), penalty lambda sum_f |A_f^* A_f - I|_F^2"
    reference = 'Jose, Cissé, Fleuret, "Kronecker Recurrent Units", ICML 2018, arXiv:1705.10142'
    strength: Tensor

    def __init__(
        self,
        hidden_size: int,
        slots: Sequence[KroneckerSettings],
        generators: Sequence[torch.Generator],
    ) -> None:
        super().__init__(hidden_size, slots, generators)
        self.complex_valued = slots[0].complex_valued
        self.factors = nn.ParameterList()
        for size in slots[0].factor_sizes(hidden_size):
            self.factors.append(stack_slots(slots, generators, _drawing(size)))
        self.register_buffer("strength", slot_vector(slots, lambda slot: slot.unitary_penalty))

    @classmethod
    def parameter_count(cls, hidden_size: int, settings: RecurrentSettings) -> int:
        own = _own(settings)
        count = sum(size**2 for size in own.factor_sizes(hidden_size))
        return 2 * count if own.complex_valued else count

    @classmethod
    def state_size(cls, hidden_size: int, settings: RecurrentSettings) -> int:
        return 2 * hidden_size if _own(settings).complex_valued else hidden_size

    def _slot_factors(self, slot: int) -> list[Tensor]:
        """The factors of one slot, complex or real."""
        parts = [factor[slot] for factor in self.factors]
        if not self.complex_valued:
            return [part[0] for part in parts]
        return [torch.complex(part[0], part[1]) for part in parts]

    def matrix(self) -> Tensor:
        # One slot at a time: complex kernels round the tail of their vector loop otherwise.
        products = [reduce(torch.kron, self._slot_factors(p)) for p in range(len(self.slots))]
        return torch.stack([real_form(W) if self.complex_valued else W for W in products])

    def parameter_groups(self) -> list[ParameterGroup]:
        """One group without weight decay, which would pull W towards 0 at F times the rate."""
        return [recurrent_group(self.slots, list(self.factors), decay=False)]

    def penalty(self) -> Tensor:
        deviations = [sum_of_deviations(self._slot_factors(p)) for p in range(len(self.slots))]
        return self.strength * torch.stack(deviations)


def sum_of_deviations(factors: Sequence[Tensor]) -> Tensor:
    """The sum of |A^* A - I|_F^2 over complex or real matrices, a real number."""
    squares = []
    for factor in factors:
        identity = torch.eye(len(factor), dtype=factor.dtype, device=factor.device)
        difference = factor.mH @ factor - identity
        parts = torch.view_as_real(difference) if factor.is_complex() else difference
        squares.append(parts.square().sum())
    return torch.stack(squares).sum()


def _drawing(size: int) -> Callable[[KroneckerSettings, torch.Generator], Tensor]:
    """Draws a factor of so many rows: its real and its imaginary part, or its one part."""

    def draw(slot: KroneckerSettings, generator: torch.Generator) -> Tensor:
        if not slot.complex_valued:
            return haar_orthogonal(size, generator).unsqueeze(0)
        drawn = haar_unitary(size, generator)
        return torch.stack([drawn.real, drawn.imag]).float()

    return draw


def _own(settings: RecurrentSettings) -> KroneckerSettings:
    if not isinstance(settings, KroneckerSettings):
        raise TypeError(f"expected settings of a Kronecker product, found {settings!r}")
    return settings
