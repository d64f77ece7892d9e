"""An unconstrained recurrent matrix."""

from collections.abc import Sequence
from typing import Literal, final

import torch
from torch import Tensor

from longhaul_trainers.initialisation import glorot_uniform, haar_orthogonal
from longhaul_trainers.matrices.base import RecurrentMatrix, RecurrentSettings, recurrent_group
from longhaul_trainers.parameter_groups import ParameterGroup

RecurrentInit = Literal["glorot", "orthogonal", "identity"]


def draw_recurrent(
    init: RecurrentInit, gain: float, size: int, generator: torch.Generator
) -> Tensor:
    """An initial matrix (size, size).

    Args:
        init: ``glorot`` (uniform), ``orthogonal`` (Haar) or ``identity``.
        gain: by which it is multiplied.
        size: H.
        generator: the slot's own.
    """
    if init == "glorot":
        return gain * glorot_uniform(size, size, generator)
    if init == "orthogonal":
        return gain * haar_orthogonal(size, generator)
    return gain * torch.eye(size)


@final
class FreeMatrix(RecurrentMatrix):
    """W itself is the parameter: H^2 of them, weight decay included.

    Args:
        hidden_size: H.
        slots: learning-rate ratio and optimiser of each slot.
        initial: each slot's first W, shape (H, H).
    """

    def __init__(
        self, hidden_size: int, slots: Sequence[RecurrentSettings], initial: Sequence[Tensor]
    ) -> None:
        super().__init__()
        self._slots = tuple(slots)
        self.weight = torch.nn.Parameter(torch.stack(list(initial)))
        if self.weight.shape[1:] != (hidden_size, hidden_size):
            raise ValueError(f"expected matrices of size {hidden_size}, found {self.weight.shape}")

    def matrix(self) -> Tensor:
        return self.weight

    def parameter_groups(self) -> list[ParameterGroup]:
        return [recurrent_group(self._slots, [self.weight], decay=True)]
