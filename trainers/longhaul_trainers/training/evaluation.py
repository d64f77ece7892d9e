"""Measuring the models of a pack on a fixed set."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from longhaul_trainers.catalogue import TASKS
from longhaul_trainers.tasks.base import Batch, Split, Task
from longhaul_trainers.training.model import SequenceModel
from longhaul_trainers.training.settings import TrialConfig

# Hidden states of one chunk of an evaluation set: T * B * H floats of a slot, 64 MiB at most. Only
# the shape of a slot decides, never P, so that a slot's bits do not depend on its neighbours.
CHUNK_FLOATS = 2**24


@dataclass(frozen=True)
class EvaluationSet:
    """One fixed set in chunks of sequences, inputs and targets without a pack dimension."""

    chunks: tuple[Batch, ...]

    @classmethod
    def cut(cls, batch: Batch, hidden_size: int, device: torch.device) -> "EvaluationSet":
        """Cuts a set (T, B, I) into chunks that fit."""
        steps, sequences, _ = batch.inputs.shape
        size = max(1, min(sequences, CHUNK_FLOATS // (steps * hidden_size)))
        cut = zip(batch.inputs.split(size, 1), batch.targets.split(size, 1), strict=True)
        return cls(tuple(Batch(one, other).to(device) for one, other in cut))


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
    def validation(self) -> EvaluationSet:
        """What every point of a curve is measured on."""
        return self._cut("validation", self._trial.training.validation_size)

    @cached_property
    def test(self) -> EvaluationSet:
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

    def _cut(self, split: Split, size: int) -> EvaluationSet:
        batch = self.task.evaluation_set(split, size)
        return EvaluationSet.cut(batch, self._trial.cell.hidden_size, self.device)


@torch.no_grad()
def evaluate(model: SequenceModel, task: Task, data: EvaluationSet) -> dict[str, Tensor]:
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


def _means(model: SequenceModel, task: Task, data: EvaluationSet) -> dict[str, Tensor]:
    sums: dict[str, Tensor] = {}
    total = 0
    for chunk in data.chunks:
        weight = task.weight(chunk.targets)
        pack = model.cell.pack_size
        outputs = model(chunk.inputs.unsqueeze(1).expand(-1, pack, -1, -1))
        for name, values in _measure(task, outputs, chunk.targets).items():
            sums[name] = sums.get(name, 0) + values * weight
        total += weight
    return task.summary({name: values / total for name, values in sums.items()})


def _measure(task: Task, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
    per_slot = [
        {"loss": task.loss(slot, targets), **task.metrics(slot, targets)} for slot in outputs
    ]
    return {name: torch.stack([one[name] for one in per_slot]).double() for name in per_slot[0]}
