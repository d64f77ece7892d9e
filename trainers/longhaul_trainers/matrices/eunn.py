"""W = D F_L ... F_1: a product of layers of rotations of pairs of units."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from longhaul_trainers.errors import SettingError
from longhaul_trainers.initialisation import uniform
from longhaul_trainers.matrices.base import RecurrentMatrix, RecurrentSettings, recurrent_group
from longhaul_trainers.matrices.complex_form import real_form, unit_phase
from longhaul_trainers.parameter_groups import ParameterGroup
from longhaul_trainers.settings import setting
from longhaul_trainers.slots import stack_slots


@dataclass(frozen=True, kw_only=True)
class EUNNSettings(RecurrentSettings):
    """What cells with a product of rotations have."""

    name: ClassVar[str] = "eunn"
    style: Literal["tunable", "fft"] = setting(
        "tunable",
        structural=True,
        help="tunable: rotations of neighbours in the given number of layers; fft: of units H/2, "
        "H/4, ..., 1 apart in log2 H layers",
    )
    layers: int = setting(
        4, ge=2, structural=True, help="number L of layers, even, at most hidden_size; not for fft"
    )
    complex_valued: bool = setting(
        True, structural=True, help="whether units are complex and W unitary, or W is a rotation"
    )

    def check(self) -> None:
        super().check()
        if self.layers % 2:
            raise SettingError("layers", f"expected an even number, found {self.layers}")

    def check_pairs(self, hidden_size: int) -> None:
        """Refuses a number of hidden units that cannot be paired as the style wants.

        Raises:
            SettingError: an odd number, or for fft no power of 2; or fewer units than layers.
        """
        found = f"found {hidden_size} hidden units"
        if self.style == "fft":
            if hidden_size < 2 or hidden_size & (hidden_size - 1):
                raise SettingError("hidden_size", f"{found}; style: fft needs a power of 2")
        elif hidden_size % 2:
            raise SettingError("hidden_size", f"{found}; style: tunable needs an even number")
        elif self.layers > hidden_size:
            problem = f"{found} for {self.layers} layers; more layers than units reach no new W"
            raise SettingError("layers", problem)


@final
class EUNNMatrix(RecurrentMatrix):
    """A product of layers, each of which rotates disjoint pairs of units.

    The pair (a, b) becomes (cos t a - sin t e^{i phi} b, sin t a + cos t e^{i phi} b). ``tunable``
    pairs neighbours, in the first, third, ... layer (0, 1), (2, 3), ..., in the others (1, 2),
    (3, 4), ..., which leaves out the first and the last unit. ``fft`` pairs units H/2 apart, then
    H/4 and so on, so that log2 H layers connect all with all. D = diag(exp(i w)) comes last. A real
    W has neither phi nor D: a rotation, of determinant 1.

    ======= ========================= =====================
    style   complex parameters        real parameters
    ======= ========================= =====================
    tunable L (H - 1) + H             L (H - 1) / 2
    fft     H log2 H + H              H log2 H / 2
    ======= ========================= =====================

    With L = H the tunable one has the H^2 dimensions of all unitary matrices. For that the phases
    must come before their rotation, as in the authors' program: after it, those of the last layer
    do what D does, and of the 16 dimensions of 4 units 3 are lost.

    All angles start uniform on ±pi.

    Differs from the paper: its 2 by 2 block has the phase in the first row; here the block is the
    one that the authors' program applies, written for column vectors.
    """

    settings_type = EUNNSettings
    formula = (
        "W = D F_L ... F_1, F rotates pairs of units by [[cos t, -e^{i phi} sin t], "
        "[sin t, e^{i phi} cos t]], D = diag(exp(i w)); real: phi = w = 0"
    )
    reference = (
        'Jing, Shen, Dubcek, Peurifoy, Skirlo, LeCun, Tegmark, Soljacic, "Tunable Efficient '
        'Unitary Neural Networks (EUNN) and their application to RNNs", ICML 2017, arXiv:1612.05231'
    )
    first: Tensor
    second: Tensor
    partners: Tensor

    def __init__(
        self,
        hidden_size: int,
        slots: Sequence[EUNNSettings],
        generators: Sequence[torch.Generator],
    ) -> None:
        super().__init__(hidden_size, slots, generators)
        self.check_size(hidden_size, slots[0])
        pairs = _pairs(hidden_size, slots[0])
        rotations = sum(len(layer) for layer in pairs)

        def draw(count: int) -> torch.nn.Parameter:
            return stack_slots(
                slots,
                generators,
                lambda _, drawn: uniform(-math.pi, math.pi, count, generator=drawn),
            )

        self.theta = draw(rotations)
        self.phi = draw(rotations) if slots[0].complex_valued else None
        self.omega = draw(hidden_size) if slots[0].complex_valued else None
        # Derived from the structure alone, so no part of a checkpoint: where each pair's two units
        # are among all units of all layers, and each unit's partner (itself where it has none).
        first = torch.cat([layer[:, 0] + i * hidden_size for i, layer in enumerate(pairs)])
        second = torch.cat([layer[:, 1] + i * hidden_size for i, layer in enumerate(pairs)])
        partners = torch.arange(hidden_size).repeat(len(pairs), 1)
        for row, layer in zip(partners, pairs, strict=True):
            row[layer] = layer.flip(1)
        self.register_buffer("first", first, persistent=False)
        self.register_buffer("second", second, persistent=False)
        self.register_buffer("partners", partners, persistent=False)

    @classmethod
    def check_size(cls, hidden_size: int, settings: RecurrentSettings) -> None:
        _own(settings).check_pairs(hidden_size)

    @classmethod
    def parameter_count(cls, hidden_size: int, settings: RecurrentSettings) -> int:
        own = _own(settings)
        if own.style == "fft":
            rotations = hidden_size // 2 * (hidden_size.bit_length() - 1)
        else:
            rotations = own.layers // 2 * (hidden_size - 1)
        return 2 * rotations + hidden_size if own.complex_valued else rotations

    @classmethod
    def state_size(cls, hidden_size: int, settings: RecurrentSettings) -> int:
        return 2 * hidden_size if _own(settings).complex_valued else hidden_size

    def matrix(self) -> Tensor:
        # One slot at a time: the complex kernels of several slots at once round otherwise.
        if self.phi is None or self.omega is None:
            return torch.stack([self._product(theta) for theta in self.theta])
        slots = zip(self.theta, self.phi, self.omega, strict=True)
        return torch.stack(
            [
                real_form(unit_phase(omega).unsqueeze(-1) * self._product(theta, unit_phase(phi)))
                for theta, phi, omega in slots
            ]
        )

    def parameter_groups(self) -> list[ParameterGroup]:
        """One group without weight decay: decay would pull all angles to 0."""
        found = [one for one in (self.theta, self.phi, self.omega) if one is not None]
        return [recurrent_group(self.slots, found, decay=False)]

    def _product(self, theta: Tensor, phase: Tensor | None = None) -> Tensor:
        """F_L ... F_1 of one slot, (H, H): the layers applied to the identity."""
        cos, sin = theta.cos(), theta.sin()
        if phase is None:
            phase = torch.ones_like(theta)
        shape = self.partners.shape
        own = torch.ones(shape.numel(), dtype=phase.dtype, device=phase.device)
        own = own.index_copy(0, self.first, cos.to(phase.dtype))
        own = own.index_copy(0, self.second, cos * phase)
        other = torch.zeros_like(own).index_copy(0, self.first, -sin * phase)
        other = other.index_copy(0, self.second, sin.to(phase.dtype))
        layers = zip(own.view(*shape, 1), other.view(*shape, 1), self.partners, strict=True)
        product = torch.eye(shape[1], dtype=phase.dtype, device=phase.device)
        for diagonal, beside, partners in layers:
            product = diagonal * product + beside * product[partners]
        return product


def _own(settings: RecurrentSettings) -> EUNNSettings:
    if not isinstance(settings, EUNNSettings):
        raise TypeError(f"expected settings of a product of rotations, found {settings!r}")
    return settings


def _pairs(size: int, settings: EUNNSettings) -> list[Tensor]:
    """The pairs of each layer, shape (K, 2), from the first that is applied to the last."""
    units = torch.arange(size)
    if settings.style == "tunable":
        both = [units.view(-1, 2), units[1:-1].view(-1, 2)]
        return both * (settings.layers // 2)
    distances = [size >> layer for layer in range(1, size.bit_length())]
    return [units.view(-1, 2, distance).mT.reshape(-1, 2) for distance in distances]
