"""A training set in memory, from which a few sequences are taken for each step."""

import math
from collections.abc import Iterator, Sequence
from typing import final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from longhaul_trainers.memory import ALIGNMENT, reused
from longhaul_trainers.tasks.base import Batch


@final
class BySequence:
    """N sequences, each in one piece of memory.

    Taken from a tensor (T, N, ...), a sequence would be in T pieces far from each other.

    Args:
        whole: (T, N, ...).
    """

    def __init__(self, whole: Tensor) -> None:
        self._shape, self._dtype = whole.shape, whole.dtype
        self._steps = whole.transpose(0, 1).contiguous().flatten(0, 1).numpy()

    def take(self, chosen: NDArray[np.int64]) -> Sequence[Tensor]:
        """Some of the sequences, (T, B, ...) each.

        Args:
            chosen: the sequences of some batches, (batches, B).
        """
        batches, size = chosen.shape
        steps = self._shape[0]
        shape = (steps, size, *self._shape[2:])
        numbers = math.prod(shape)
        # Each begins where memory of its own would.
        apart = numbers + -numbers % (ALIGNMENT // self._dtype.itemsize)
        memory = reused(batches, apart, dtype=self._dtype)
        taken: tuple[Tensor, ...] = memory[:, :numbers].unflatten(1, shape).unbind()
        step, places = np.arange(steps)[:, None], np.empty((steps, size), dtype=np.int64)
        for into, first in zip(taken, chosen * steps, strict=True):
            np.add(first, step, out=places)
            # Without `clip`, which has nothing to clip, numpy would write to a buffer first.
            np.take(self._steps, places, axis=0, out=into.numpy(), mode="clip")
        return taken


@final
class BatchesOf:
    """A training set as one batch (T, N, ...), from which batches are taken.

    Args:
        whole: all sequences with their targets.
    """

    def __init__(self, whole: Batch) -> None:
        self._inputs, self._targets = BySequence(whole.inputs), BySequence(whole.targets)

    def take(self, chosen: NDArray[np.int64]) -> Iterator[Batch]:
        """Some of the sequences.

        Args:
            chosen: the sequences of some batches, (batches, B).
        """
        yield from map(Batch, self._inputs.take(chosen), self._targets.take(chosen))
