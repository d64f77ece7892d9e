"""Memory for large batches, used again.

A batch of many megabytes, made anew at each step, costs more in pages that the system hands out,
one fault each, than in what is written to them. So a task keeps the last ones, and writes into one
that nobody holds any more.
"""

import math
import sys
import threading
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

LEAST_BYTES = 1 << 20
"""Smaller ones are as well made anew."""
MOST_BYTES = 1 << 26
"""Larger ones are never kept: nobody makes them at each step."""
KEPT = 2
"""Arrays at most: one in use while the next is made."""
_OURS = 3
"""References to an array that only this list, a loop over it and `getrefcount` have."""


@final
class Recycled:
    """Float32 tensors whose memory is used again once nobody has the tensor, or a view of it."""

    def __init__(self) -> None:
        self._arrays: list[NDArray[np.float32]] = []

    def empty(self, *shape: int) -> Tensor:
        """A tensor of this shape with anything in it."""
        if not LEAST_BYTES <= 4 * math.prod(shape) <= MOST_BYTES:
            return torch.empty(*shape)
        for array in self._arrays:
            # A tensor made of an array holds a reference to it for as long as its storage lives.
            if array.shape == shape and sys.getrefcount(array) == _OURS:
                return torch.from_numpy(array)
        made = np.empty(shape, dtype=np.float32)
        self._arrays = [*self._arrays[1 - KEPT :], made]
        return torch.from_numpy(made)


class _OfThread(threading.local):
    def __init__(self) -> None:
        self.memory = Recycled()


_of_thread = _OfThread()


def recycled() -> Recycled:
    """Memory that the batches of all tasks of this thread share."""
    return _of_thread.memory
