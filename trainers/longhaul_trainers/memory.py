"""Memory for large tensors on the CPU, used again.

A training step frees the states of all time steps, and the next one asks for as much. Given back to
the system and handed out anew, zeroed, a page at a time, it costs more than many a scan: an LSTM of
128 units over 784 steps of 128 sequences takes 240,000 page faults a step, a third of its time. So
whoever makes large tensors at each step, of states or of batches, takes them from here.
"""

import math
import threading
from collections.abc import Sequence
from typing import Any, Final, final
from weakref import ReferenceType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[Any]

LEAST_BYTES: Final = 1 << 17
"""Smaller ones are as well made anew."""
ALIGNMENT: Final = 64
"""Bytes: what torch aligns memory to. Kernels may add in another order elsewhere."""
SPARE: Final = 1.5
"""There is at most so many times as much as was ever in use at once."""
_DTYPES: Final = {torch.float32: np.float32, torch.float64: np.float64, torch.int64: np.int64}


class Lendable:
    """Memory that is given away as one tensor at a time."""

    _given: ReferenceType[Array] | None = None

    @property
    def is_free(self) -> bool:
        """Whether nobody has the tensor, or a view of it."""
        return self._given is None or self._given() is None

    def lend(self, array: Array) -> Tensor:
        """The tensor of an array made for it, which its storage holds while it lives."""
        self._given = ReferenceType(array)
        return torch.from_numpy(array)


@final
class _Block(Lendable):
    def __init__(self, size: int) -> None:
        self.size = size
        memory = np.empty(size + ALIGNMENT, dtype=np.uint8)
        first = -memory.ctypes.data % ALIGNMENT
        self._memory = memory[first : first + size]

    def tensor(self, shape: Sequence[int], dtype: torch.dtype, size: int) -> Tensor:
        """Its beginning, as a tensor."""
        return self.lend(self._memory[:size].view(_DTYPES[dtype]).reshape(shape))


@final
class Memory:
    """Tensors whose memory is used again once nobody has the tensor, or a view of it."""

    def __init__(self) -> None:
        self._blocks: list[_Block] = []  # those used last at the end
        self._most = 0

    @property
    def size(self) -> int:
        """Bytes of all of it, in use or not."""
        return sum(block.size for block in self._blocks)

    def empty(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """A tensor with anything in it."""
        size = math.prod(shape) * dtype.itemsize
        if size < LEAST_BYTES or dtype not in _DTYPES:
            return torch.empty(shape, dtype=dtype)
        used_last = reversed(self._blocks)  # what a cache may still hold
        fitting = [one for one in used_last if size <= one.size <= 2 * size and one.is_free]
        if fitting:
            block = min(fitting, key=lambda one: one.size)
            self._blocks.remove(block)
            self._blocks.append(block)
            return block.tensor(shape, dtype, size)
        block = _Block(size)
        tensor = block.tensor(shape, dtype, size)
        self._blocks.append(block)
        self._give_back()
        return tensor

    def _give_back(self) -> None:
        self._most = max(self._most, sum(one.size for one in self._blocks if not one.is_free))
        spare = self.size - SPARE * self._most
        for block in list(self._blocks):
            if spare > 0 and block.is_free:
                self._blocks.remove(block)
                spare -= block.size


class _OfThread(threading.local):
    def __init__(self) -> None:
        self.memory = Memory()


_of_thread = _OfThread()


def reused(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """A tensor on the CPU with anything in it, from memory that this thread used before."""
    return _of_thread.memory.empty(shape, dtype)


def reused_as(like: Tensor, *shape: int) -> Tensor:
    """As `Tensor.new_empty`; on a CPU from memory that this thread used before.

    Args:
        like: tells device and type.
        shape: that of ``like`` where there is none.
    """
    shape = shape or tuple(like.shape)
    if like.device.type != "cpu":
        return like.new_empty(shape)
    return reused(*shape, dtype=like.dtype)
