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
        self._dtype, self._rest = whole.dtype, whole.shape[2:]
        self._steps = self._as_steps(whole.transpose(0, 1).contiguous())

    def take(self, chosen: NDArray[np.int64]) -> Sequence[Tensor]:
        """Some of the sequences, (T, B, ...) each.

        Args:
            chosen: the sequences of some batches, (batches, B).
        """
        batches, size = chosen.shape
        shape = (self._steps.shape[1], size, *self._rest)
        numbers = math.prod(shape)
        # Each begins where memory of its own would.
        apart = numbers + -numbers % (ALIGNMENT // self._dtype.itemsize)
        memory = reused(batches, apart, dtype=self._dtype)
        taken = memory[:, :numbers].unflatten(1, shape)
        np.copyto(self._as_steps(taken), self._steps[chosen].swapaxes(1, 2))
        each: tuple[Tensor, ...] = taken.unbind()
        return each

    def _as_steps(self, tensor: Tensor) -> NDArray[np.void]:
        """The same memory, where one element is all numbers of one step of one sequence."""
        width = tensor.element_size() * math.prod(self._rest)
        array = tensor.numpy().reshape(*tensor.shape[: tensor.ndim - len(self._rest)], -1)
        steps: NDArray[np.void] = array.view(np.dtype((np.void, width)))[..., 0]
        return steps


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
