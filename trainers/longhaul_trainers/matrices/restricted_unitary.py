"""W = D3 R2 F^-1 D2 Pi R1 F D1: a unitary matrix of few parameters."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from longhaul_trainers.initialisation import uniform
from longhaul_trainers.matrices.base import RecurrentMatrix, RecurrentSettings, recurrent_group
from longhaul_trainers.matrices.complex_form import real_form, unit_phase
from longhaul_trainers.parameter_groups import ParameterGroup
from longhaul_trainers.slots import stack_slots


@dataclass(frozen=True, kw_only=True)
class RestrictedUnitarySettings(RecurrentSettings):
    """No settings of its own."""

    name: ClassVar[str] = "restricted_unitary"


@final
class RestrictedUnitaryMatrix(RecurrentMatrix):
    """A product of phases, reflections, a Fourier transform and a permutation, for complex units.

    D_k = diag(exp(i theta_k)), R_k = I - 2 v_k v_k^* / |v_k|^2 with complex v_k, F the unitary
    Fourier transform and Pi a permutation that each trial draws once: (Pi h)_i = h_pi(i). There are
    7H real parameters, of which |v_k| and the phase of v_k do not matter; for more than 7 units
    not every unitary matrix can be written so (Wisdom et al. 2016, arXiv:1611.00035).

    The angles start uniform on ±pi, the v_k Glorot uniform for a matrix of 2 by 2H.
    """

    settings_type = RestrictedUnitarySettings
    formula = (
        "W = D3 R2 F^-1 D2 Pi R1 F D1, D = diag(exp(i theta)), R = I - 2 v v^* / |v|^2, F the "
        "unitary Fourier transform, Pi a fixed random permutation"
    )
    reference = (
        'Arjovsky, Shah, Bengio, "Unitary Evolution Recurrent Neural Networks", ICML 2016, '
        "arXiv:1511.06464, equation 6"
    )
    permutation: Tensor

    def __init__(
        self,
        hidden_size: int,
        slots: Sequence[RecurrentSettings],
        generators: Sequence[torch.Generator],
    ) -> None:
        super().__init__(hidden_size, slots, generators)
        bound = math.sqrt(6 / (2 + 2 * hidden_size))

        def draw_phases(_: RecurrentSettings, generator: torch.Generator) -> Tensor:
            return uniform(-math.pi, math.pi, 3, hidden_size, generator=generator)

        def draw_reflections(_: RecurrentSettings, generator: torch.Generator) -> Tensor:
            return uniform(-bound, bound, 2, 2, hidden_size, generator=generator)

        self.phases = stack_slots(slots, generators, draw_phases)
        # two vectors, each its real parts, then its imaginary ones
        self.reflections = stack_slots(slots, generators, draw_reflections)
        drawn = [torch.randperm(hidden_size, generator=generator) for generator in generators]
        self.register_buffer("permutation", torch.stack(drawn))

    @classmethod
    def parameter_count(cls, hidden_size: int, settings: RecurrentSettings) -> int:
        return 7 * hidden_size

    @classmethod
    def state_size(cls, hidden_size: int, settings: RecurrentSettings) -> int:
        return 2 * hidden_size

    def matrix(self) -> Tensor:
        # One slot at a time: the complex kernels of several slots at once round otherwise.
        slots = zip(self.phases, self.reflections, self.permutation, strict=True)
        return torch.stack([real_form(_product(*slot)) for slot in slots])

    def parameter_groups(self) -> list[ParameterGroup]:
        """One group without weight decay: decay would pull the phases to 0 and no v anywhere."""
        return [recurrent_group(self.slots, [self.phases, self.reflections], decay=False)]


def _product(phases: Tensor, reflections: Tensor, permutation: Tensor) -> Tensor:
    """W of one slot, complex (H, H): the operators applied to the identity, one after the other."""
    first, second, third = unit_phase(phases).unsqueeze(-1).unbind()
    columns = torch.diag(first.squeeze(-1))
    columns = torch.fft.fft(columns, dim=0, norm="ortho")
    columns = _reflected(columns, reflections[0])[permutation]
    columns = torch.fft.ifft(second * columns, dim=0, norm="ortho")
    return third * _reflected(columns, reflections[1])


def _reflected(columns: Tensor, reflection: Tensor) -> Tensor:
    v = torch.complex(*reflection).unsqueeze(-1)
    return columns - v @ ((2 / reflection.square().sum()) * (v.mH @ columns))
