"""W = M - M^T - gamma I: rotations that fade a little."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from longhaul_trainers.matrices.base import RecurrentMatrix, RecurrentSettings, recurrent_group
from longhaul_trainers.parameter_groups import ParameterGroup
from longhaul_trainers.settings import setting
from longhaul_trainers.slots import slot_vector, stack_slots


@dataclass(frozen=True, kw_only=True)
class SkewDiffusionSettings(RecurrentSettings):
    """Diffusion and scale of the initial matrix; both may differ inside a pack."""

    name: ClassVar[str] = "skew_diffusion"
    gamma: float = setting(0.01, ge=0, help="diffusion: what is taken off W's diagonal")
    sigma_w: float = setting(4.0, ge=0, help="the entries of the first M deviate by this over n")


@final
class SkewDiffusionMatrix(RecurrentMatrix):
    """W = M - M^T - gamma I with M strictly upper triangular.

    All eigenvalues have the real part -gamma, so that as the right-hand side of a differential
    equation W neither explodes nor, for a small gamma, forgets. M starts normal with deviation
    sigma_w / n. Weight decay applies: it slows the rotations down.
    """

    settings_type = SkewDiffusionSettings
    formula = "W = M - M^T - gamma I, M strictly upper triangular"
    reference = (
        'Chang, Chen, Haber, Chi, "AntisymmetricRNN: A Dynamical System View on Recurrent Neural '
        'Networks", ICLR 2019, arXiv:1902.09689'
    )
    gamma: Tensor
    positions: Tensor

    def __init__(
        self,
        hidden_size: int,
        slots: Sequence[SkewDiffusionSettings],
        generators: Sequence[torch.Generator],
    ) -> None:
        super().__init__(hidden_size, slots, generators)
        positions = torch.triu_indices(hidden_size, hidden_size, offset=1)

        def draw(slot: SkewDiffusionSettings, generator: torch.Generator) -> Tensor:
            drawn = torch.randn(positions.shape[1], generator=generator)
            return slot.sigma_w / hidden_size * drawn

        self.upper = stack_slots(slots, generators, draw)
        self.register_buffer("gamma", slot_vector(slots, lambda slot: slot.gamma))
        # Derived from the size alone: no part of a checkpoint.
        self.register_buffer("positions", positions, persistent=False)

    @classmethod
    def parameter_count(cls, hidden_size: int, settings: RecurrentSettings) -> int:
        return hidden_size * (hidden_size - 1) // 2

    def matrix(self) -> Tensor:
        size = self.hidden_size
        M = self.upper.new_zeros(len(self.slots), size, size)
        rows, columns = self.positions
        M[:, rows, columns] = self.upper
        identity = torch.eye(size, dtype=M.dtype, device=M.device)
        return M - M.mT - self.gamma[:, None, None] * identity

    def parameter_groups(self) -> list[ParameterGroup]:
        return [recurrent_group(self.slots, [self.upper], decay=True)]
