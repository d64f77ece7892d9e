"""The order in which a fixed training set is passed, epoch after epoch."""

from collections import OrderedDict
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from longhaul_trainers.counter import Stream

KEPT_BYTES: Final = 64 * 2**20


@final
class EpochOrder:
    """Epoch e passes all sequences once, in an order that depends on (labels, seed, e) alone.

    Batch s of B sequences takes places s B ... (s + 1) B - 1 of the epochs laid end to end, so
    every batch is full; one in which an epoch ends goes on with the next.

    Args:
        size: sequences in the training set.
        labels: what is ordered, for example the task's name.
    """

    def __init__(self, size: int, *labels: str | int) -> None:
        if size < 1:
            raise ValueError(f"a training set of {size} sequences")
        self._size = size
        self._labels = labels
        # A trial asks for one epoch at a time, a pack for one of each of its trials.
        self._kept: OrderedDict[tuple[int, int], NDArray[np.int32]] = OrderedDict()

    def batch(self, seed: int, step: int, batch_size: int) -> NDArray[np.int64]:
        """The sequences of training step ``step`` (the first is 0), shape (batch_size,)."""
        return self.batches(seed, step, batch_size, 1).reshape(batch_size)

    def batches(self, seed: int, step: int, batch_size: int, steps: int) -> NDArray[np.int64]:
        """Those of ``steps`` training steps from ``step`` on, shape (steps, batch_size)."""
        at, end = step * batch_size, (step + steps) * batch_size
        found = []
        while at < end:
            epoch, within = divmod(at, self._size)
            here = self.epoch(seed, epoch)[within : within + end - at]
            found.append(here)
            at += len(here)
        places: NDArray[np.int64] = np.concatenate(found, dtype=np.int64)
        return places.reshape(steps, batch_size)

    def epoch(self, seed: int, epoch: int) -> NDArray[np.int32]:
        """All sequences in the order of one epoch, shape (size,)."""
        key = (seed, epoch)
        order = self._kept.pop(key, None)
        if order is None:
            order = permutation(Stream(*self._labels, "epoch", seed), self._size, step=epoch)
        self._kept[key] = order
        while len(self._kept) > max(2, KEPT_BYTES // order.nbytes):
            self._kept.popitem(last=False)
        return order


def permutation(stream: Stream, size: int, *, step: int = 0) -> NDArray[np.int32]:
    """A uniform permutation of 0 ... size - 1: the order in which as many random words rank."""
    words = stream.words(size, 1, step=step)[:, 0]
    return np.argsort(words, kind="stable").astype(np.int32)
