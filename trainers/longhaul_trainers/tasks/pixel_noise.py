"""Steps of noise that follow an image.

Drawing a million normal numbers a sequence would take longer than training on them. So the rows of
noise, one a step, are drawn once and lie in a ring. At each step the ring is turned at random, and
each sequence takes the row that its number points to: numbers are standard normal, and of 16,384
sequences on end no two have the same at any step.
"""

from functools import cached_property
from typing import Final, final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from longhaul_trainers.counter import Stream
from longhaul_trainers.normal import PER_WORD, normal32

ROWS: Final = 1 << 14
"""Different rows of noise: a sequence has the same one again at one of 16,384 steps."""
_TURNS_PER_WORD: Final = 4


@final
class Noise:
    """Standard normal rows.

    Args:
        width: numbers in a row.
        labels: what the noise is for.
    """

    def __init__(self, width: int, *labels: str | int) -> None:
        self._width = width
        self._labels = labels

    def fill(self, steps: Tensor, stream: Stream, step: int, first: int = 0) -> None:
        """Noise of each sequence's own.

        Args:
            steps: overwritten, (S, B, width).
            stream: its words turn the ring.
            step: of the stream.
            first: number of the first sequence.
        """
        count, size, _ = steps.shape
        words = stream.words(1, -(-count // _TURNS_PER_WORD), step=step)
        turns = words.astype("<u8", copy=False).view("<u2")[0, :count].astype(np.intp)
        # Rows that lie together are copied sooner than as many here and there: so as many of the
        # first ones follow the last as one turn reaches.
        if len(self._ring) < ROWS + size - 1:
            self._ring = np.resize(self._ring[:ROWS], (ROWS + size - 1, self._width))
        for shown, turned in zip(steps.numpy(), ((turns + first) % ROWS).tolist(), strict=True):
            shown[:] = self._ring[turned : turned + size]

    def fill_alike(self, steps: Tensor) -> None:
        """The same block, the first rows, after every image: ``steps`` is overwritten."""
        steps.numpy()[:] = self._ring[np.arange(len(steps)) % ROWS, None]

    @cached_property
    def _ring(self) -> NDArray[np.float32]:
        words = Stream(*self._labels).words(ROWS, -(-self._width // PER_WORD))
        return np.ascontiguousarray(normal32(words)[:, : self._width])
