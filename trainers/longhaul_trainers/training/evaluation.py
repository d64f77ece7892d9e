"""Measuring the models of a pack on a fixed set."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from longhaul_trainers.catalogue import TASKS
from longhaul_trainers.cells.base import State
from longhaul_trainers.tasks.base import Batch, Split, Task
from longhaul_trainers.training.model import SequenceModel
from longhaul_trainers.training.settings import TrialConfig

# Hidden states of one chunk of an evaluation set, or inputs or outputs if they are wider: T * B * H
# floats of a slot, 64 MiB at most. Only the shape of a slot decides, never P, so that a slot's bits
# do not depend on its neighbours.
CHUNK_FLOATS = 2**24

KEPT_BYTES = 2**28
"""Larger evaluation sets are made anew each time they are measured."""


class Measured(Protocol):
    """One fixed set, inputs and targets without a pack dimension."""

    def runs(self) -> Iterable[Iterable[Batch]]:
        """Groups of sequences, each in pieces along time that follow upon one another."""
        ...

    def first(self) -> Batch:
        """The first piece of the first group."""
        ...


class EvaluationSet:
    """A set in chunks of sequences.

    It is kept where it is measured, or made anew for each pass where it is large; in either case
    the chunks are the same.

    Args:
        task: whose set.
        split: which.
        size: sequences of it.
        hidden_size: of the cell.
        device: where it is measured.
    """

    def __init__(
        self, task: Task, split: Split, size: int, hidden_size: int, device: torch.device
    ) -> None:
        steps, _, width = next(task.evaluation_chunks(split, 1, 1)).inputs.shape
        widest = max(hidden_size, width, task.output_size)
        self._task, self._size = task, size
        self._split: Split = split
        self._sequences = max(1, CHUNK_FLOATS // (steps * widest))
        self._device = device
        self._kept: list[Batch] | None = None

    def runs(self) -> Iterable[Iterable[Batch]]:
        """See `Measured.runs`; sequences are whole."""
        return ([chunk] for chunk in self._chunks())

    def first(self) -> Batch:
        """See `Measured.first`."""
        return next(self._chunks())

    def _chunks(self) -> Iterator[Batch]:
        if self._kept is not None:
            yield from self._kept
            return
        kept: list[Batch] = []
        held = 0
        for chunk in self._task.evaluation_chunks(self._split, self._size, self._sequences):
            moved = chunk.to(self._device)
            held += moved.inputs.nbytes + moved.targets.nbytes
            if held <= KEPT_BYTES:
                kept.append(moved)
            else:
                kept.clear()
            yield moved
        if held <= KEPT_BYTES:
            self._kept = kept


@dataclass(frozen=True)
class LongSet:
    """A set of sequences too long to be kept or passed in one go; read anew for each pass."""

    task: Task
    split: Split
    size: int
    steps: int
    device: torch.device

    @classmethod
    def of(
        cls, task: Task, split: Split, size: int, hidden_size: int, device: torch.device
    ) -> "LongSet":
        """Pieces that fit; not shorter than training sequences, which fit as well."""
        _, sequences, width = next(task.evaluation_pieces(split, size, 1)).inputs.shape
        widest = max(hidden_size, width, task.output_size)
        steps = max(task.length, CHUNK_FLOATS // (sequences * widest))
        return cls(task, split, size, steps, device)

    def runs(self) -> Iterable[Iterable[Batch]]:
        """See `Measured.runs`; all sequences are one group."""
        return [self._pieces()]

    def first(self) -> Batch:
        """See `Measured.first`."""
        return next(self._pieces())

    def _pieces(self) -> Iterator[Batch]:
        for piece in self.task.evaluation_pieces(self.split, self.size, self.steps):
            yield piece.to(self.device)


class Measure:
    """The task of trials of one structure and its fixed sets, made once for all their packs.

    Args:
        trial: any one of the trials.
        device: where they compute.
    """

    def __init__(self, trial: TrialConfig, device: torch.device) -> None:
        self.task: Task = TASKS.get(trial.task.name)(trial.task)
        self.device = device
        self._trial = trial

    @cached_property
    def validation(self) -> Measured:
        """What every point of a curve is measured on."""
        return self._cut("validation", self._trial.training.validation_size)

    @cached_property
    def test(self) -> Measured:
        """What the best weights of a trial are measured on, once."""
        return self._cut("test", self._trial.training.test_size)

    @cached_property
    def hashes(self) -> dict[str, str]:
        """SHA-256 of both sets."""
        training = self._trial.training
        return {
            "validation": self.task.evaluation_hash("validation", training.validation_size),
            "test": self.task.evaluation_hash("test", training.test_size),
        }

    def _cut(self, split: Split, size: int) -> Measured:
        hidden_size = self._trial.cell.hidden_size
        if self.task.carries_state:
            return LongSet.of(self.task, split, size, hidden_size, self.device)
        return EvaluationSet(self.task, split, size, hidden_size, self.device)


@torch.no_grad()
def evaluate(model: SequenceModel, task: Task, data: Measured) -> dict[str, Tensor]:
    """Mean loss and metrics of each slot over a set.

    Returns:
        ``loss`` and the task's further metrics, each of shape (P,), float64.
    """
    with evaluating(model):
        return _means(model, task, data)


@contextmanager
def evaluating(model: SequenceModel) -> Iterator[None]:
    """Makes batch normalisation take its running statistics, and leave them as they are."""
    model.eval()
    try:
        yield
    finally:
        model.train()


def _means(model: SequenceModel, task: Task, data: Measured) -> dict[str, Tensor]:
    sums: dict[str, Tensor] = {}
    total = 0
    pack = model.cell.pack_size
    for run in data.runs():
        state: State | None = None
        for piece in run:
            weight = task.weight(piece.targets)
            inputs = piece.inputs.unsqueeze(1).expand(-1, pack, -1, -1)
            outputs, state = model.run(inputs, state)
            for name, values in _measure(task, outputs, piece.targets).items():
                sums[name] = sums.get(name, 0) + values * weight
            total += weight
    return task.summary({name: values / total for name, values in sums.items()})


def _measure(task: Task, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
    per_slot = [
        {"loss": task.loss(slot, targets), **task.metrics(slot, targets)} for slot in outputs
    ]
    return {name: torch.stack([one[name] for one in per_slot]).double() for name in per_slot[0]}
