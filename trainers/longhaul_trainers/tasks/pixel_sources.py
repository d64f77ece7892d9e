"""The images that are shown pixel by pixel."""

import math
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from longhaul_trainers.data.columns import Parts, numbers
from longhaul_trainers.tasks.pixel_splits import Split

SourceName = Literal["cifar10", "digits", "mnist"]


@dataclass(frozen=True)
class ImageSource:
    """A data set of images of ten classes, as known without its files.

    Attributes:
        channels, height, width: of an image.
        images: in the training file.
        brightest: the largest value of a pixel.
        split: where no paper says how.
        counts: images of each class in the training file, as published.
        test_counts: the same of the test file.
    """

    channels: int
    height: int
    width: int
    images: int
    brightest: float
    split: Split
    counts: tuple[int, ...]
    test_counts: tuple[int, ...]

    @property
    def pixels(self) -> int:
        """Pixels of one image, whatever its channels."""
        return self.height * self.width

    @property
    def entropy(self) -> float:
        """Cross entropy in nats of always answering with the frequencies of the classes."""
        return math.fsum(-n / self.images * math.log(n / self.images) for n in self.counts)

    @property
    def majority(self) -> float:
        """Share of the test images in the class that is most frequent in training."""
        return self.test_counts[self.counts.index(max(self.counts))] / sum(self.test_counts)

    def columns(self, parts: Parts, part: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Images (N, C, height * width) and labels (N,) of a part, not copied."""
        images = numbers(parts[part], "image").reshape(-1, self.channels, self.pixels)
        labels = numbers(parts[part], "label")
        if images.dtype != np.uint8 or labels.dtype != np.uint8:
            raise TypeError(f"expected uint8, found {images.dtype} and {labels.dtype}")
        return images.view(np.uint8), labels.view(np.uint8)


SOURCES: Final[dict[str, ImageSource]] = {
    "cifar10": ImageSource(
        channels=3,
        height=32,
        width=32,
        images=50_000,
        brightest=255,
        split=Split(5_000, "last"),
        counts=(5_000,) * 10,
        test_counts=(1_000,) * 10,
    ),
    "digits": ImageSource(
        channels=1,
        height=8,
        width=8,
        images=1_437,
        brightest=16,
        split=Split(240, "last"),
        counts=(143, 146, 142, 146, 144, 145, 144, 143, 141, 143),
        test_counts=(35, 36, 35, 37, 37, 37, 37, 36, 33, 37),
    ),
    "mnist": ImageSource(
        channels=1,
        height=28,
        width=28,
        images=60_000,
        brightest=255,
        split=Split(5_000, "last"),
        counts=(5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949),
        test_counts=(980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009),
    ),
}
