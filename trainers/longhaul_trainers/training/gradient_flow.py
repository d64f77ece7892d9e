"""How much of the loss's gradient reaches far back in time."""

from itertools import pairwise

import torch
from torch import Tensor

from longhaul_trainers.cells.base import State
from longhaul_trainers.tasks.base import Batch, Task
from longhaul_trainers.training.evaluation import evaluating
from longhaul_trainers.training.model import SequenceModel

FRACTIONS = (0.0, 0.25, 0.5, 0.75)
"""Where the gradient is looked at, as parts of the sequence."""

SEQUENCES = 8
"""Sequences that are looked at, so that it costs less than one training step."""


def gradient_flow(model: SequenceModel, task: Task, batch: Batch) -> dict[str, Tensor]:
    """Norms of the loss's gradient by the state at some moments of the sequence.

    The gradient at moment t is that of all that is read after t, by everything that the cell
    carries from t on: h_t, and c_t, z_t and the like where there are any. Where only the end is
    read, a cell that lets it vanish has ``state_at_0`` many orders of magnitude below
    ``state_at_75``; where every step is read, the steps soon after t count as well.

    Args:
        model: left as it is, gradients of its parameters included.
        task: for the loss.
        batch: inputs (T, B, I) and targets without a pack dimension. Of sequences longer than those
            of training, their beginning is looked at, as long as those are.

    Returns:
        ``state_at_0``, ``state_at_25``, ... in per cent of the sequence, each (P,), float64: the
        norm over state and batch, where the loss is the mean over the sequences looked at.
    """
    if task.reads == "every":  # an evaluation set's sequences may be longer than training's
        batch = Batch(batch.inputs[: task.length], batch.targets[: task.length])
    inputs = batch.inputs[:, :SEQUENCES].unsqueeze(1).expand(-1, model.cell.pack_size, -1, -1)
    targets = batch.targets[:, :SEQUENCES]
    steps = inputs.shape[0]
    # one step at least, which makes the state of any cell
    moments = [max(1, min(round(fraction * steps), steps - 1)) for fraction in FRACTIONS]
    with torch.enable_grad(), evaluating(model):
        states: list[State] = []
        outputs: list[Tensor] = []
        state: State | None = None
        for first, last in pairwise([0, *moments, steps]):
            if first < last:
                seen, carried = model.cell(inputs[first:last], state)
                outputs.append(seen)
                # apart from the outputs, of which the state may be the last: only what is read
                # after this moment counts
                state = tuple(one.view_as(one) for one in carried)
            states.append(state or ())
        read = model.readout(torch.cat(outputs))
        loss = torch.stack([task.loss(slot, targets) for slot in read]).sum()
    # a cell may carry what no gradient flows through: a count of steps, a scale
    flat = [one for state in states[:-1] for one in state if one.requires_grad]
    gradients = iter(torch.autograd.grad(loss, flat, allow_unused=True))
    norms = {}
    for fraction, state in zip(FRACTIONS, states, strict=False):
        found = [next(gradients) if one.requires_grad else None for one in state]
        squares = [_square(one, model.cell.pack_size) for one in found]
        # one after the other: a sum over a stack adds in an order that depends on P
        total = squares[0]
        for square in squares[1:]:
            total = total + square
        norms[f"state_at_{round(100 * fraction)}"] = total.sqrt()
    return norms


def _square(gradient: Tensor | None, pack: int) -> Tensor:
    if gradient is None:
        return torch.zeros(pack, dtype=torch.float64)
    # slot by slot: the order in which one sum adds up depends on P
    return torch.stack([slot.double().square().sum() for slot in gradient])
