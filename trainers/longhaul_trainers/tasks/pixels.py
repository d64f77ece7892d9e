"""Images shown pixel by pixel, or row by row: which of ten classes, asked at the end.

B sequences, T time steps, I inputs, C channels.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from longhaul_trainers.counter import Stream
from longhaul_trainers.data.store import open_data
from longhaul_trainers.errors import SettingError
from longhaul_trainers.memory import reused
from longhaul_trainers.settings import Settings, setting
from longhaul_trainers.tasks.base import WITH_ACCURACY, Batch, Better, Protocol, Split, Task
from longhaul_trainers.tasks.epochs import EpochOrder, permutation
from longhaul_trainers.tasks.pixel_noise import Noise
from longhaul_trainers.tasks.pixel_permutations import PERMUTATIONS, PermutationName
from longhaul_trainers.tasks.pixel_protocols import PROTOCOLS, PixelProtocol, ProtocolName
from longhaul_trainers.tasks.pixel_sources import SOURCES, ImageSource, SourceName

CLASSES = 10
_SHADES = " .:-=+*#%@"
_SHOWN = 72


@dataclass(frozen=True, kw_only=True)
class PixelsSettings(Settings):
    """Which images, and how they are shown."""

    name: ClassVar[str] = "pixels"

    protocol: ProtocolName = setting(
        "longhaul",
        structural=True,
        searchable=False,
        help="split, scale and training as a paper had them",
    )
    source: SourceName | None = setting(
        None,
        structural=True,
        searchable=False,
        help="the images; null: the protocol's. digits need no file and stand in for all others",
    )
    scan: Literal["pixels", "rows"] | None = setting(
        None,
        structural=True,
        searchable=False,
        help="what one step shows, a pixel or a row; null: as the protocol",
    )
    permutation: Literal["none", "protocol", PermutationName] = setting(
        "none",
        structural=True,
        searchable=False,
        help="the order of the pixels: as in the image, as the protocol permutes them, or another",
    )
    length: int | None = setting(
        None,
        ge=1,
        structural=True,
        searchable=False,
        help="steps of one sequence, noise after the image included; null: as the protocol",
    )
    noise: Literal["fixed", "per_sample"] | None = setting(
        None,
        structural=True,
        searchable=False,
        help="noise after the image: the same block after each, or its own; null: as the protocol",
    )

    def check(self) -> None:
        """Refuses images, orders and lengths that do not go together."""
        protocol = PROTOCOLS[self.protocol]
        if self.source not in (None, "digits", protocol.images) and protocol.published_images:
            problem = f"protocol {self.protocol} is for {protocol.images} (digits stand in for it)"
            raise SettingError("source", f"{problem}, found {self.source}")
        if self.permutation == "protocol" and protocol.permutation is None:
            problem = f"protocol {self.protocol} has none that is known; expected none or one of"
            raise SettingError("permutation", f"{problem} {', '.join(PERMUTATIONS)}")
        least = self.image_steps
        if self.length is not None and self.length < least:
            raise SettingError("length", f"the image takes {least} steps, found {self.length}")

    @property
    def images(self) -> ImageSource:
        """The images that are meant."""
        return SOURCES[self.source_name]

    @property
    def source_name(self) -> str:
        """Their name."""
        return self.source or PROTOCOLS[self.protocol].images

    @property
    def as_published(self) -> bool:
        """Whether the protocol's split and scale are those of these images."""
        protocol = PROTOCOLS[self.protocol]
        return protocol.published_images and self.source_name == protocol.images

    @property
    def by_rows(self) -> bool:
        """Whether a step shows a row."""
        return (self.scan or PROTOCOLS[self.protocol].scan) == "rows"

    @property
    def image_steps(self) -> int:
        """Steps that an image takes, without noise."""
        return self.images.height if self.by_rows else self.images.pixels


@final
class Pixels(Task):
    """An image, a pixel a step, and at the last step the question which of ten classes it is.

    Inputs are (T, B, I): I = C channels for a pixel, or channels times width for a row (all of the
    first channel, then all of the second, ...). Noise, standard normal, may follow the image (see
    `pixel_noise`). The target is (1, B), at the last step. A protocol of which only the digits are
    at hand keeps its way of showing them, its training and, by generator and seed, its permutation.

    Training images are passed epoch after epoch, each in an order that depends on (seed, epoch)
    alone; batches are always full, and one in which an epoch ends goes on with the next. Validation
    and test sets are in a fixed random order, so that a part of one is a fair sample of it.

    Reference: Le, Jaitly, Hinton (2015), arXiv:1504.00941 (pixels, permuted pixels); Chang, Chen,
    Haber, Chi (2019), arXiv:1902.09689 (noise after the image).
    Differs from the papers: where one has no validation images, some training images are, and are
    selected on; torch's loaders end an epoch with a smaller batch.
    """

    settings_type = PixelsSettings
    protocols: ClassVar[Mapping[str, Protocol]] = PROTOCOLS
    reads = "last"
    settings: PixelsSettings

    @property
    def protocol(self) -> PixelProtocol:
        """See `Task.protocol`."""
        return PROTOCOLS[self.settings.protocol]

    @property
    def input_size(self) -> int:
        """I: channels, times the width by rows."""
        images = self.settings.images
        return images.channels * (images.width if self.settings.by_rows else 1)

    @property
    def output_size(self) -> int:
        """10."""
        return CLASSES

    @property
    def length(self) -> int:
        """T: the steps of the image, and those of the noise."""
        own = self.settings.image_steps
        return self.settings.length or max(own, self.protocol.length or 0)

    @property
    def baseline(self) -> float:
        """Cross entropy of always answering with the frequencies of the classes.

        That is the entropy of the training file's labels, from the published counts. What the last
        pixel says beside it (in MNIST next to nothing: it is black in all images) is left out.
        """
        return self.settings.images.entropy

    @property
    def baseline_metrics(self) -> dict[str, float]:
        """``accuracy`` of always answering with the class most frequent in training."""
        return {"accuracy": self.settings.images.majority}

    @property
    def training_size(self) -> int:
        """See `Task.training_size`."""
        return len(self._indices[0])

    def prepare(self) -> None:
        """See `Task.prepare`."""
        open_data(self.settings.source_name)

    def training_batch(self, seed: int, step: int, batch_size: int) -> Batch:
        """See `Task.training_batch`."""
        images, labels = self._columns["train"]
        chosen = self._indices[0][self._epochs.batch(seed, step, batch_size)]
        stream = Stream(self.settings.name, "noise", "training", seed)
        return self._batch(images[chosen], labels[chosen], stream, step)

    def evaluation_set(self, split: Split, size: int) -> Batch:
        """See `Task.evaluation_set`."""
        return next(self.evaluation_chunks(split, size, size))

    def evaluation_chunks(self, split: Split, size: int, sequences: int) -> Iterator[Batch]:
        """See `Task.evaluation_chunks`."""
        images, labels = self._columns["test" if split == "test" else "train"]
        held = np.arange(len(images)) if split == "test" else self._indices[1]
        chosen = held[permutation(Stream(self.settings.name, split), len(held))[:size]]
        stream = Stream(self.settings.name, "noise", split)
        for first in range(0, len(chosen), sequences):
            part = chosen[first : first + sequences]
            yield self._batch(images[part], labels[part], stream, 0, first)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean cross entropy in nats.

        Args:
            outputs: logits (1, B, 10).
            targets: (1, B).
        """
        return cross_entropy(outputs.flatten(0, 1), targets.flatten())

    @property
    def better(self) -> Mapping[str, Better]:
        """See `Task.better`."""
        return WITH_ACCURACY

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """``accuracy``: share of the images whose class has the largest logit."""
        return {"accuracy": (outputs.argmax(2) == targets).float().mean()}

    def example(self) -> str:
        """See `Task.example`."""
        batch = self.evaluation_set("validation", 1)
        bright = batch.inputs[:, 0].mean(1)
        scale = (len(_SHADES) - 1) / float(bright.max().clamp(min=1e-6))
        shades = (bright * scale).round().clamp(0, len(_SHADES) - 1).int().tolist()
        first = 0
        if self.settings.image_steps > _SHOWN:
            windows = bright[: self.settings.image_steps].unfold(0, _SHOWN, 1)
            first = int(windows.sum(1).argmax())
        row = "".join(_SHADES[code] for code in shades[first : first + _SHOWN])
        row = f"{'… ' * bool(first)}{row}{' …' * (first + _SHOWN < self.length)}"
        answer = str(batch.targets.item()).rjust(len(row))
        steps = f"one {'row' if self.settings.by_rows else 'pixel'} a step, bright is {_SHADES[-1]}"
        return "\n".join([f"input   {row}", f"target  {answer}", f"({steps}; {self.length} steps)"])

    def _batch(
        self,
        images: NDArray[np.uint8],
        labels: NDArray[np.uint8],
        noise: Stream,
        step: int,
        first: int = 0,
    ) -> Batch:
        """Images (B, C, pixels) as they are stored, from number ``first`` of their set on."""
        size, channels, _ = images.shape
        source = self.settings.images
        # Bytes are put in order first: they are a quarter of what they become.
        ordered = np.ascontiguousarray(images.transpose(2, 1, 0))
        if self._order is not None:
            ordered = ordered[self._order]
        if self.settings.by_rows:
            by_row = ordered.reshape(source.height, source.width, channels, size)
            ordered = by_row.transpose(0, 3, 2, 1).reshape(source.height, size, -1)
        else:
            ordered = ordered.transpose(0, 2, 1)
        shown = torch.from_numpy(np.ascontiguousarray(ordered))
        inputs = reused(self.length, size, self.input_size)
        own = inputs[: len(shown)]
        own.copy_(shown).div_(self._scale)
        if self.settings.as_published and self.protocol.deviation != 1:
            own.sub_(self.protocol.mean).div_(self.protocol.deviation)
        if len(shown) < self.length:
            after = inputs[len(shown) :]
            if (self.settings.noise or self.protocol.noise) == "fixed":
                self._noise.fill_alike(after)
            else:
                self._noise.fill(after, noise, step, first)
        return Batch(inputs, torch.from_numpy(labels.astype(np.int64)).unsqueeze(0))

    @cached_property
    def _noise(self) -> Noise:
        return Noise(self.input_size, self.settings.name, "noise")

    @property
    def _scale(self) -> float:
        published = self.settings.as_published
        return self.protocol.scale if published else self.settings.images.brightest

    @cached_property
    def _order(self) -> NDArray[np.int64] | None:
        name: str | None = self.settings.permutation
        if name == "protocol":
            name = self.protocol.permutation
        if name is None or name == "none":
            return None
        return PERMUTATIONS[name].order(self.settings.images.pixels)

    @cached_property
    def _indices(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        images = self.settings.images
        split = self.protocol.split if self.settings.as_published else images.split
        return split.indices(images.images, images.pixels)

    @cached_property
    def _epochs(self) -> EpochOrder:
        return EpochOrder(self.training_size, self.settings.name)

    @cached_property
    def _columns(self) -> dict[str, tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
        parts = open_data(self.settings.source_name)
        return {part: self.settings.images.columns(parts, part) for part in ("train", "test")}
