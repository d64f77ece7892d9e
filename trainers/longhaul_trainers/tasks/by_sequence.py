"""A training set in memory, from which a few sequences are taken at each step."""

import math
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from longhaul_trainers.tasks.base import Batch
from longhaul_trainers.tasks.recycled import recycled


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

    def take(self, chosen: NDArray[np.int64]) -> Tensor:
        """Some of the sequences, (T, B, ...)."""
        shape = (self._steps.shape[1], len(chosen), *self._rest)
        if self._dtype == torch.float32:
            taken = recycled().empty(*shape)
        else:
            taken = torch.empty(shape, dtype=self._dtype)
        np.copyto(self._as_steps(taken), self._steps[chosen].T)
        return taken

    def _as_steps(self, tensor: Tensor) -> NDArray[np.void]:
        """The same memory, where one element is all numbers of one step of one sequence."""
        width = tensor.element_size() * math.prod(self._rest)
        array = tensor.numpy().reshape(*tensor.shape[:2], -1)
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

    def take(self, chosen: NDArray[np.int64]) -> Batch:
        """Some of the sequences, as one batch."""
        return Batch(self._inputs.take(chosen), self._targets.take(chosen))
