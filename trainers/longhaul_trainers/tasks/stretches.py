"""Sequences of different lengths as stretches of one long array."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from longhaul_trainers.data.columns import Column, Ragged
from longhaul_trainers.tasks.recycled import Numbers, recycled


@dataclass(frozen=True)
class Stretches:
    """N sequences, or pieces of some.

    Attributes:
        values: (total, I), or (total,).
        bounds: int64 (N, 2): the first row of each, and the row after its last. They may overlap.
    """

    values: NDArray[np.generic]
    bounds: NDArray[np.int64]

    @classmethod
    def of(cls, column: Column) -> "Stretches":
        """All sequences of a ragged column, as they are."""
        if not isinstance(column, Ragged):
            raise TypeError("the samples of this column are all equally long")
        return cls(column.values, np.stack([column.offsets[:-1], column.offsets[1:]], axis=1))

    def __len__(self) -> int:
        return len(self.bounds)

    def __getitem__(self, index: int) -> NDArray[np.generic]:
        first, end = self.bounds[index].tolist()
        return self.values[first:end]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Rows of each."""
        return self.bounds[:, 1] - self.bounds[:, 0]

    @property
    def longest(self) -> int:
        """Rows of the longest one; 0 if there is none."""
        return int(self.lengths.max(initial=0))

    def take(self, chosen: NDArray[np.int64] | slice) -> "Stretches":
        """Some of them, in the order given."""
        return Stretches(self.values, self.bounds[chosen])

    def without(self, before: int, after: int) -> "Stretches":
        """Each without its first ``before`` and its last ``after`` rows."""
        return Stretches(self.values, self.bounds + np.array([before, -after]))

    def joined(self) -> NDArray[np.generic]:
        """The rows of all, one behind the other, (total, I) or (total,)."""
        return np.concatenate([self.values[first:end] for first, end in self.bounds.tolist()])

    def mapped(self, change: Callable[[NDArray[np.generic]], NDArray[np.generic]]) -> "Stretches":
        """What becomes of their rows, all by one call, for there may be many stretches."""
        ends = np.cumsum(self.lengths)
        return Stretches(change(self.joined()), np.stack([ends - self.lengths, ends], axis=1))

    def cut(self, most: int | None, ahead: int) -> "Stretches":
        """Pieces of at most ``most`` rows, None for any number, each with ``ahead`` rows more.

        What is asked for at a row stands ``ahead`` rows later. So a piece begins with the rows
        that the one before has more, and nothing that is asked for is lost. What is too short to
        ask for anything is left out.
        """
        pieces = []
        for first, end in self.bounds.tolist():
            last = end - ahead
            pieces += [
                (at, min(at + (most or last - at), last) + ahead)
                for at in range(first, last, most or max(1, last - first))
            ]
        return Stretches(self.values, np.array(pieces, dtype=np.int64).reshape(-1, 2))

    def padded(self, steps: int, fill: float) -> Tensor:
        """All of them side by side with ``fill`` behind each, float32 (steps, B, I)."""
        lengths, width = self.lengths.tolist(), self.values.shape[1]
        padded = recycled().blank(fill, steps, len(self), width, written=lengths)
        for b, (first, end) in enumerate(self.bounds.tolist()):
            padded.array[: end - first, b] = self.values[first:end]
        padded.undo = partial(_take_back, lengths, fill)
        return padded.tensor


def _take_back(lengths: Sequence[int], fill: float, array: Numbers, written: Sequence[int]) -> bool:
    last = array[-1]
    untouched = bool((np.isnan(last) if np.isnan(fill) else last == fill).all())
    for b, (length, next_length) in enumerate(zip(lengths, written, strict=True)):
        if next_length < length:
            array[next_length:length, b] = fill
    return untouched
