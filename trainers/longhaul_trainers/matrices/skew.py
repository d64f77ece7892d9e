"""Skew-symmetric matrices as parameters."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from longhaul_trainers.matrices.base import RecurrentSettings
from longhaul_trainers.matrices.skew_exponential import compiled_exponentials, skew_exponential
from longhaul_trainers.matrices.skew_init import SkewInit, draw_skew
from longhaul_trainers.settings import setting
from longhaul_trainers.slots import joined, stack_slots


@dataclass(frozen=True, kw_only=True)
class SkewSettings(RecurrentSettings):
    """What cells with a skew-symmetric parameter have."""

    learning_rate_ratio: float = setting(
        0.1, gt=0, help="learning rate of the recurrent matrix, as a multiple of the trial's"
    )
    skew_init: SkewInit = setting(
        "henaff", help="initial skew-symmetric matrix, which sets the angles of the first W"
    )


@final
class SkewSymmetric(nn.Module):
    """A = X - X^T of every slot, X strictly upper triangular.

    Only the H (H - 1) / 2 entries above the diagonal exist, so A is skew to the last bit and
    optimisers hold no state for entries that do not matter.

    Args:
        hidden_size: H.
        slots: each names its initialiser.
        generators: one a slot.
    """

    positions: Tensor

    def __init__(
        self,
        hidden_size: int,
        slots: Sequence[SkewSettings],
        generators: Sequence[torch.Generator],
    ) -> None:
        super().__init__()
        self.hidden_size = hidden_size

        def draw(slot: SkewSettings, generator: torch.Generator) -> Tensor:
            return draw_skew(slot.skew_init, hidden_size, generator)

        self.upper = stack_slots(slots, generators, draw)
        rows, columns = torch.triu_indices(hidden_size, hidden_size, offset=1)
        # Derived from the size alone: no part of a checkpoint.
        self.register_buffer("positions", rows * hidden_size + columns, persistent=False)

    def forward(self) -> Tensor:
        """A, shape (P, H, H)."""
        pack, size = self.upper.shape[0], self.hidden_size
        flat = self.upper.new_zeros(pack, size * size)
        upper = flat.index_copy(1, self.positions, self.upper).view(pack, size, size)
        return upper - upper.mT

    def exponential(self) -> Tensor:
        """exp(A), shape (P, H, H): rotations."""
        compiled = compiled_exponentials(self.upper, self.hidden_size)
        if compiled is not None:
            return compiled
        # One slot at a time: a batched exponential treats all matrices alike, by the norms of all,
        # so that a trial's last bits would depend on its neighbours.
        return joined([skew_exponential(one) for one in self()])

    @staticmethod
    def parameter_count(hidden_size: int) -> int:
        """H (H - 1) / 2."""
        return hidden_size * (hidden_size - 1) // 2
