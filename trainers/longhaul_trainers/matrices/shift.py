"""W h = h shifted by one: a fixed permutation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from longhaul_trainers.matrices.base import RecurrentMatrix, RecurrentSettings
from longhaul_trainers.parameter_groups import ParameterGroup


@dataclass(frozen=True, kw_only=True)
class ShiftSettings(RecurrentSettings):
    """No settings of its own; nothing is trained, so the inherited ones have no effect."""

    name: ClassVar[str] = "shift"


@final
class ShiftMatrix(RecurrentMatrix):
    """W h moves every unit to the next, the last to the first; no parameters.

    Orthogonal and normal: what enters comes back after H steps, whatever has been trained.
    """

    settings_type = ShiftSettings
    formula = "(W h)_i = h_{i-1}, (W h)_1 = h_n"
    reference = (
        'Rotman and Wolf, "Shuffling Recurrent Neural Networks", AAAI 2021, arXiv:2007.07324'
    )
    shift: Tensor

    def __init__(
        self,
        hidden_size: int,
        slots: Sequence[RecurrentSettings],
        generators: Sequence[torch.Generator],
    ) -> None:
        super().__init__(hidden_size, slots, generators)
        # Derived from the size alone: no part of a checkpoint.
        self.register_buffer("shift", torch.eye(hidden_size).roll(1, 0), persistent=False)

    @classmethod
    def parameter_count(cls, hidden_size: int, settings: RecurrentSettings) -> int:
        return 0

    def matrix(self) -> Tensor:
        return self.shift.expand(len(self.slots), -1, -1)

    def parameter_groups(self) -> list[ParameterGroup]:
        return []
