"""Predicting frames of sequences that have different lengths, which are padded to one.

T time steps, B sequences, I numbers in a frame.
"""

from abc import abstractmethod
from collections.abc import Iterator
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from longhaul_trainers.tasks.ahead import TaskAhead
from longhaul_trainers.tasks.base import Batch, Split
from longhaul_trainers.tasks.by_sequence import BatchesOf
from longhaul_trainers.tasks.counted import counted
from longhaul_trainers.tasks.epochs import EpochOrder
from longhaul_trainers.tasks.stretches import Stretches

Part = Literal["train", "validation", "test"]

PADDED_BYTES = 1 << 25
"""A training set that takes no more, inputs and targets, is padded once and not at each step."""


class NextFrameTask(TaskAhead):
    """From each frame, the one ``ahead`` steps later; targets past the end of a sequence are NaN.

    The training set is passed in an order of its own each epoch. Evaluation sets are in the files'
    own order, padded to the longest sequence of the whole part.
    """

    reads = "every"
    ahead: int = 1
    """Steps from an input to its target; below 0, it is a frame that was seen already."""

    @abstractmethod
    def sequences(self, part: Part) -> Stretches:
        """All sequences of a part, values (total, I)."""

    @property
    def longest_piece(self) -> int | None:
        """Longer training sequences are cut to this many steps; None: never."""
        return None

    @property
    def length(self) -> int:
        """T of a training batch."""
        return self._pieces.longest - abs(self.ahead)

    @property
    def training_size(self) -> int:
        """See `Task.training_size`: pieces, where sequences are cut."""
        return len(self._pieces)

    def evaluation_set(self, split: Split, size: int) -> Batch:
        """See `Task.evaluation_set`; sequences are never cut here."""
        return next(self.evaluation_chunks(split, size, size))

    def evaluation_chunks(self, split: Split, size: int, sequences: int) -> Iterator[Batch]:
        """See `Task.evaluation_chunks`."""
        whole = self.sequences(split).cut(None, abs(self.ahead))
        for first in range(0, min(size, len(whole)), sequences):
            chosen = whole.take(slice(first, min(size, first + sequences)))
            yield self._batch(chosen, whole.longest - abs(self.ahead))

    def weight(self, targets: Tensor) -> int:
        """The number of counted frames."""
        return int(counted(targets[..., 0]).sum())

    def prepared(self, chosen: Stretches) -> Stretches:
        """Some sequences as the cell reads and predicts them."""
        return chosen

    def asked(self, part: Part) -> NDArray[np.float32]:
        """All frames of a part that are asked for, as stored, (total, I)."""
        before, after = max(0, -self.ahead), max(0, self.ahead)
        whole = self.sequences(part).cut(None, abs(self.ahead))
        return whole.without(after, before).joined().astype(np.float32)

    @cached_property
    def _pieces(self) -> Stretches:
        return self.sequences("train").cut(self.longest_piece, abs(self.ahead))

    def training_batches(
        self, seed: int, step: int, steps: int, batch_size: int
    ) -> Iterator[Batch]:
        """See `TaskAhead.training_batches`."""
        chosen = self._order.batches(seed, step, batch_size, steps)
        if self._padded is not None:
            yield from self._padded.take(chosen)
        else:
            yield from (self._batch(self._pieces.take(one), self.length) for one in chosen)

    @cached_property
    def _padded(self) -> BatchesOf | None:
        """The whole training set, unless it is large."""
        if 2 * len(self._pieces) * self.length * self.input_size * 4 > PADDED_BYTES:
            return None
        return BatchesOf(self._batch(self._pieces, self.length))

    @cached_property
    def _order(self) -> EpochOrder:
        return EpochOrder(len(self._pieces), self.settings.name)

    def _batch(self, chosen: Stretches, steps: int) -> Batch:
        before, after = max(0, -self.ahead), max(0, self.ahead)
        frames = self.prepared(chosen)
        inputs = frames.without(before, after).padded(steps, 0.0)
        targets = frames.without(after, before).padded(steps, np.nan)
        return Batch(inputs, targets)
