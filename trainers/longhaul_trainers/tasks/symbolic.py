"""What synthetic tasks over symbols have in common: one-hot inputs, answers that are classes."""

from collections.abc import Mapping, Sequence
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from longhaul_trainers.memory import reused
from longhaul_trainers.readout import mean_cross_entropy
from longhaul_trainers.tasks.base import IGNORED, WITH_ACCURACY, Batch, Better
from longhaul_trainers.tasks.recycled import Numbers, recycled
from longhaul_trainers.tasks.synthetic import SyntheticTask

SPARSE = 64
"""The least I at which a few numbers are made blank sooner than all: several cache lines a step."""
SEEN = 7
"""Of so many places that were written, one is looked at before they are made blank."""


class CodedTask(SyntheticTask):
    """A task whose inputs are one-hot.

    What is drawn has whole numbers (T, B) in place of the inputs; one of I or more has no input.
    """

    def shown(self, drawn: Batch) -> Batch:
        """See `SyntheticTask.shown`."""
        return Batch(one_hot_inputs(drawn.inputs.numpy(), self.input_size), drawn.targets)


class SymbolicTask(CodedTask):
    """A task whose targets are classes, `IGNORED` where a step is not counted."""

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean cross entropy in nats over all sequences and counted steps.

        Args:
            outputs: logits (S, B, O).
            targets: (S, B).
        """
        return mean_cross_entropy(outputs.flatten(0, 1), targets.flatten(), IGNORED)

    @property
    def better(self) -> Mapping[str, Better]:
        """See `Task.better`."""
        return WITH_ACCURACY

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """``accuracy``: share of the counted targets that the largest logit names."""
        counted = targets != IGNORED
        right = (outputs.argmax(2) == targets) & counted
        return {"accuracy": right.sum() / counted.sum()}


def one_hot_inputs(codes: NDArray[np.integer], size: int) -> Tensor:
    """One-hot vectors (T, B, size) of codes (T, B); a code of ``size`` or more is all zeros."""
    if size >= SPARSE:
        return _ones(codes.ravel(), codes.shape, size)
    inputs = reused(*codes.shape, size)
    # Whole vectors are copied: sooner done than zeros here and ones there.
    np.take(_vectors(size), codes, axis=0, out=inputs.numpy(), mode="clip")
    return inputs


@cache
def _vectors(size: int) -> Numbers:
    return np.eye(size + 1, size, dtype=np.float32)


def _ones(codes: NDArray[np.integer], shape: tuple[int, ...], size: int) -> Tensor:
    places = np.arange(0, codes.size * size, size)
    places += codes
    if codes.max(initial=0) >= size:
        places = places[codes < size]
    inputs = recycled().blank(0.0, *shape, size)
    inputs.array.reshape(-1)[places] = 1
    inputs.undo = partial(_take_back, places)
    return inputs.tensor


def _take_back(places: NDArray[np.int64], array: Numbers, _: Sequence[int]) -> bool:
    flat = array.reshape(-1)
    # Whoever writes into a batch writes all over it: a part of the places shows it.
    untouched = bool((flat[places[::SEEN]] == 1).all())
    flat[places] = 0
    return untouched
