"""The state that cells carry from one training batch to the next.

Back-propagation is truncated at the batch (Williams and Peng, "An efficient gradient-based
algorithm for on-line training of recurrent network trajectories", 1990): a batch begins where the
one before ended, and no gradient goes back beyond its beginning.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from longhaul_trainers.cells.base import Cell, State


class CarriedState:
    """The states of P slots, each after its own last training batch.

    Args:
        cell: whose state it is.
        batch_size: B, of each training batch.
        device: where the cell computes.
    """

    def __init__(self, cell: Cell, batch_size: int, device: torch.device) -> None:
        inputs = torch.zeros(1, cell.pack_size, batch_size, cell.input_size, device=device)
        with torch.no_grad():
            initial = cell.initial_state(inputs)
        self._cell = cell
        self._kept = [one.clone(memory_format=torch.contiguous_format) for one in initial]

    def begin(self, inputs: Tensor, starts_over: Sequence[bool]) -> State:
        """Where each slot's next batch begins.

        Which of the two it is makes no difference to what is computed, so that a slot has the same
        bits and the same gradients beside others that stand elsewhere in their texts.

        Args:
            inputs: of that batch, shape (T, P, B, I).
            starts_over: for each slot, whether it begins at the cell's initial state.
        """
        initial = self._cell.initial_state(inputs)
        chosen = torch.tensor(list(starts_over), device=inputs.device)
        return tuple(
            torch.where(_like(chosen, kept), one, kept)
            for one, kept in zip(initial, self._kept, strict=True)
        )

    def keep(self, state: State, moved: Sequence[bool]) -> None:
        """Keeps the state after a batch, without its gradient, for the slots that have moved."""
        chosen = torch.tensor(list(moved), device=state[0].device)
        for kept, one in zip(self._kept, state, strict=True):
            kept.copy_(torch.where(_like(chosen, kept), one.detach(), kept))

    def tensors(self) -> dict[str, Tensor]:
        """All of it by name, each of shape (P, B, ...); writing to them sets it."""
        return {f"state.{i}": kept for i, kept in enumerate(self._kept)}


def _like(chosen: Tensor, state: Tensor) -> Tensor:
    return chosen.view(-1, *[1] * (state.dim() - 1))
