"""Which images of a training file are for training and which for validation."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from longhaul_trainers.counter import Stream
from longhaul_trainers.tasks.epochs import permutation


@dataclass(frozen=True)
class Split:
    """How validation images are taken out of a training file.

    Attributes:
        validation: how many.
        chosen: ``first`` or ``last`` in the order of the file; ``drawn`` by a stream of ours,
            where the authors' choice is not reproducible; ``kerg`` by numpy's
            ``RandomState(1234)``, after it has drawn the permutation of the pixels.
    """

    validation: int
    chosen: Literal["first", "last", "drawn", "kerg"]

    def indices(self, images: int, pixels: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Training and validation images of a file with ``images`` images of ``pixels`` pixels."""
        order = self._order(images, pixels)
        if self.chosen == "first":
            return order[self.validation :], order[: self.validation]
        return order[: images - self.validation], order[images - self.validation :]

    def _order(self, images: int, pixels: int) -> NDArray[np.int64]:
        if self.chosen == "drawn":
            return permutation(Stream("pixels", "split"), images).astype(np.int64)
        if self.chosen == "kerg":
            state = np.random.RandomState(1234)
            state.permutation(pixels)
            return state.permutation(images).astype(np.int64)
        return np.arange(images)
