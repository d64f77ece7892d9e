"""Steps of noise that follow an image.

Drawing a million normal numbers a sequence would take longer than training on them. So the rows of
noise, one a step, are drawn once, and each step of each sequence takes one of these at random: its
numbers are standard normal, and no two sequences have the same.
"""

from functools import cached_property
from typing import Final, final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from longhaul_trainers.counter import Stream
from longhaul_trainers.normal import PER_WORD, normal32

ROWS: Final = 1 << 14
"""Different rows of noise; two sequences agree in one of 16,384 steps."""
_CHOICES_PER_WORD: Final = 4


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
            stream: row b of its words chooses the noise of sequence b.
            step: of the stream.
            first: number of the first sequence.
        """
        count, size, _ = steps.shape
        width = -(-count // _CHOICES_PER_WORD)
        words = stream.words(size, width, step=step, first_row=first)
        codes = np.ascontiguousarray(words.astype("<u8", copy=False)).view("<u2")
        chosen = (codes[:, :count] & (ROWS - 1)).T.astype(np.intp)
        # Without `clip`, which has nothing to clip, numpy would write to a buffer first.
        np.take(self._rows, chosen, axis=0, out=steps.numpy(), mode="clip")

    def fill_alike(self, steps: Tensor) -> None:
        """The same block, the first rows, after every image: ``steps`` is overwritten."""
        steps.numpy()[:] = self._rows[np.arange(len(steps)) % ROWS, None]

    @cached_property
    def _rows(self) -> NDArray[np.float32]:
        words = Stream(*self._labels).words(ROWS, -(-self._width // PER_WORD))
        return np.ascontiguousarray(normal32(words)[:, : self._width])
