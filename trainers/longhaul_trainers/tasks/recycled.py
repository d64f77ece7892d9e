"""Memory for large batches most of which is blank, one-hot or padded, used again.

As in `longhaul_trainers.memory`, but of what nobody holds any more only what was written into it is
made blank again.
"""

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from longhaul_trainers.memory import LEAST_BYTES, Lendable

MOST_BYTES = 1 << 26
"""Larger ones are never kept: nobody makes them at each step."""
KEPT_BYTES = 2 * MOST_BYTES
KEPT = 24
"""Arrays at most: some in use while the next are made."""

Numbers = NDArray[np.float32]
Undo = Callable[[Numbers, Sequence[int]], bool]


@dataclass(eq=False)
class Blank(Lendable):
    """A tensor full of one number, to be written into.

    Attributes:
        array: its memory.
        fill: that number.
        undo: makes the array blank again where it was written, and says whether it could: not, as
            far as it can see, where somebody else has written to it since. It may leave out those
            first steps of each sequence, their numbers, that are written next.
    """

    array: Numbers
    fill: float
    undo: Undo | None = None

    @property
    def tensor(self) -> Tensor:
        """What is to be given away, once."""
        return self.lend(self.array[...])

    def clear(self, fill: float, written: Sequence[int]) -> None:
        """Makes it blank again, but perhaps for so many first steps of each sequence."""
        undo, self.undo = self.undo, None
        if undo is None or not _same(fill, self.fill) or not undo(self.array, written):
            self.array.fill(fill)
        self.fill = fill


@final
class Recycled:
    """Float32 tensors whose memory is used again once nobody has the tensor, or a view of it."""

    def __init__(self) -> None:
        self._kept: list[Blank] = []

    def blank(self, fill: float, *shape: int, written: Sequence[int] = ()) -> Blank:
        """One of this shape, full of ``fill``; whoever writes into it sets its ``undo``.

        Args:
            fill: the number.
            shape: (T, B, I).
            written: first steps of each sequence that are written whatever they hold.
        """
        if not _is_kept(shape):
            return Blank(np.full(shape, fill, dtype=np.float32), fill)
        found = self._free(shape, fill)
        if found is None:
            return self._keep(Blank(np.full(shape, fill, dtype=np.float32), fill))
        found.clear(fill, written)
        return found

    def _free(self, shape: tuple[int, ...], fill: float) -> Blank | None:
        free = [one for one in self._kept if one.array.shape == shape and one.is_free]
        # Inputs and targets of one batch may differ in nothing but what they are filled with.
        return min(free, key=lambda one: not _same(one.fill, fill), default=None)

    def _keep(self, made: Blank) -> Blank:
        self._kept.append(made)
        while len(self._kept) > KEPT or sum(one.array.nbytes for one in self._kept) > KEPT_BYTES:
            del self._kept[0]
        return made


def _is_kept(shape: tuple[int, ...]) -> bool:
    return LEAST_BYTES <= 4 * math.prod(shape) <= MOST_BYTES


def _same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))


class _OfThread(threading.local):
    def __init__(self) -> None:
        self.memory = Recycled()


_of_thread = _OfThread()


def recycled() -> Recycled:
    """Memory that the batches of all tasks of this thread share."""
    return _of_thread.memory
