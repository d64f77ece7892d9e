"""W h = a convolution along rings of units."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from longhaul_trainers.errors import SettingError
from longhaul_trainers.initialisation import uniform
from longhaul_trainers.matrices.base import RecurrentMatrix, RecurrentSettings, recurrent_group
from longhaul_trainers.parameter_groups import ParameterGroup
from longhaul_trainers.settings import setting
from longhaul_trainers.slots import stack_slots


@dataclass(frozen=True, kw_only=True)
class CircularSettings(RecurrentSettings):
    """What cells with rings of units have."""

    name: ClassVar[str] = "circular"
    channels: int = setting(
        1, ge=1, structural=True, help="number c of rings; hidden_size is a multiple of it"
    )
    kernel_size: int = setting(3, ge=1, structural=True, help="width k of the convolution, odd")
    recurrent_init: Literal["shift", "identity", "uniform"] = setting(
        "shift",
        help="initial convolution: every ring moves on by one unit, stays as it is, or the entries "
        "are uniform on ±1 / sqrt(c k)",
    )

    def check_rings(self, hidden_size: int) -> None:
        """Refuses what makes no rings.

        Raises:
            SettingError: with the key at fault.
        """
        if self.kernel_size % 2 == 0:
            raise SettingError("kernel_size", f"expected an odd number, found {self.kernel_size}")
        if hidden_size % self.channels:
            problem = f"expected a multiple of channels ({self.channels}), found {hidden_size}"
            raise SettingError("hidden_size", problem)


@final
class CircularMatrix(RecurrentMatrix):
    """W h is a circular convolution of c rings of H / c units, every ring into every ring.

    Unit i of ring r is entry r H / c + i of h. The parameters are the c c k entries of the kernel;
    W is neither orthogonal nor normal once they are trained, and only the initial ones make waves:
    with ``shift`` (W h)_i = h_{i+1} in every ring.
    """

    settings_type = CircularSettings
    formula = "(W h)_{r,i} = sum over rings s and offsets d of K_{r,s,d} h_{s,i+d}, |d| <= (k-1)/2"
    reference = (
        'Keller, Muller, Sejnowski, Welling, "Traveling Waves Encode the Recent Past and Enhance '
        'Sequence Learning", ICLR 2024, arXiv:2309.08045'
    )
    shifts: Tensor

    def __init__(
        self,
        hidden_size: int,
        slots: Sequence[CircularSettings],
        generators: Sequence[torch.Generator],
    ) -> None:
        super().__init__(hidden_size, slots, generators)
        self.check_size(hidden_size, slots[0])
        channels, size = slots[0].channels, slots[0].kernel_size
        self.kernel = stack_slots(slots, generators, _draw_kernel)
        ring = torch.eye(hidden_size // channels)
        # Derived from the sizes alone: no part of a checkpoint.
        offsets = range(-(size // 2), size // 2 + 1)
        shifts = torch.stack([ring.roll(-offset, 0) for offset in offsets])
        self.register_buffer("shifts", shifts, persistent=False)

    @classmethod
    def check_size(cls, hidden_size: int, settings: RecurrentSettings) -> None:
        _own(settings).check_rings(hidden_size)

    @classmethod
    def parameter_count(cls, hidden_size: int, settings: RecurrentSettings) -> int:
        own = _own(settings)
        return own.channels**2 * own.kernel_size

    def matrix(self) -> Tensor:
        # One slot at a time: the kernel's gradient is a sum over the ring.
        return torch.stack([self._circulant(kernel) for kernel in self.kernel])

    def _circulant(self, kernel: Tensor) -> Tensor:
        taps = zip(kernel.unbind(-1), self.shifts, strict=True)
        terms = [torch.kron(tap.contiguous(), shift) for tap, shift in taps]
        return torch.stack(terms).sum(0)

    def parameter_groups(self) -> list[ParameterGroup]:
        return [recurrent_group(self.slots, [self.kernel], decay=True)]


def _own(settings: RecurrentSettings) -> CircularSettings:
    if not isinstance(settings, CircularSettings):
        raise TypeError(f"expected settings of rings, found {settings!r}")
    return settings


def _draw_kernel(slot: CircularSettings, generator: torch.Generator) -> Tensor:
    channels, size = slot.channels, slot.kernel_size
    if slot.recurrent_init == "uniform":
        bound = (channels * size) ** -0.5
        return uniform(-bound, bound, channels, channels, size, generator=generator)
    kernel = torch.zeros(channels, channels, size)
    # A kernel of one entry cannot shift.
    tap = min(size // 2 + (slot.recurrent_init == "shift"), size - 1)
    kernel[..., tap] = torch.eye(channels)
    return kernel
