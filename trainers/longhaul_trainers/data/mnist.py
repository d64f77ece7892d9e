"""MNIST: 70,000 handwritten digits."""

import gzip
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from longhaul_trainers.data.columns import Parts, Table
from longhaul_trainers.data.data_set import DataSet, Form

SIZES: Final = {"train": 60_000, "test": 10_000}
_SIDE: Final = 28
_IMAGES_MAGIC: Final = 2051
_LABELS_MAGIC: Final = 2049


def read_npz(files: Sequence[Path]) -> Parts:
    """Tables ``train`` and ``test`` of an npz file; images (N, 784) or (N, 28, 28).

    Raises:
        ValueError: a missing key, another shape or type.
    """
    with np.load(files[0], allow_pickle=False) as archive:
        return {part: _from_npz(archive, part) for part in SIZES}


def read_idx(files: Sequence[Path]) -> Parts:
    """Tables ``train`` and ``test`` of the four idx files, each plain or compressed by gzip.

    Raises:
        ValueError: another magic number, another size, or trailing bytes.
    """
    train_images, train_labels, test_images, test_labels = files
    return {
        "train": _checked("train", _idx_images(train_images), _idx_labels(train_labels)),
        "test": _checked("test", _idx_images(test_images), _idx_labels(test_labels)),
    }


def _from_npz(archive: "np.lib.npyio.NpzFile", part: str) -> Table:
    wanted = [f"x_{part}", f"y_{part}"]
    lacking = [key for key in wanted if key not in archive.files]
    if lacking:
        raise ValueError(f"no key {lacking[0]!r}; found {', '.join(archive.files) or 'none'}")
    images, labels = (archive[key] for key in wanted)
    return _checked(part, images, labels)


def _checked(part: str, images: NDArray[np.generic], labels: NDArray[np.generic]) -> Table:
    size = SIZES[part]
    if images.shape not in {(size, _SIDE * _SIDE), (size, _SIDE, _SIDE)}:
        expected = f"({size}, {_SIDE * _SIDE}) or ({size}, {_SIDE}, {_SIDE})"
        raise ValueError(f"the {part} images are {images.shape}; expected {expected}")
    if images.dtype != np.uint8:
        raise ValueError(f"the {part} images are {images.dtype}; expected uint8, 0 to 255")
    if labels.shape != (size,) or labels.dtype.kind not in "iu":
        found = f"{labels.dtype} {labels.shape}"
        raise ValueError(f"the {part} labels are {found}; expected whole numbers ({size},)")
    if labels.min() < 0 or labels.max() > 9:
        raise ValueError(f"the {part} labels go from {labels.min()} to {labels.max()}, not 0 to 9")
    return {"image": images.reshape(size, _SIDE, _SIDE), "label": labels.astype(np.uint8)}


def _idx_images(file: Path) -> NDArray[np.uint8]:
    data = _bytes(file)
    magic, count, height, width = _header(file, data, ">IIII")
    if magic != _IMAGES_MAGIC:
        raise ValueError(f"{file.name} begins with {magic}; idx images with {_IMAGES_MAGIC}")
    return _values(file, data[16:], count * height * width).reshape(count, height, width)


def _idx_labels(file: Path) -> NDArray[np.uint8]:
    data = _bytes(file)
    magic, count = _header(file, data, ">II")
    if magic != _LABELS_MAGIC:
        raise ValueError(f"{file.name} begins with {magic}; idx labels with {_LABELS_MAGIC}")
    return _values(file, data[8:], count)


def _bytes(file: Path) -> bytes:
    data = file.read_bytes()
    return gzip.decompress(data) if file.suffix == ".gz" else data


def _header(file: Path, data: bytes, layout: str) -> tuple[int, ...]:
    if len(data) < struct.calcsize(layout):
        raise ValueError(f"{file.name} ends within its header, after {len(data)} bytes")
    return struct.unpack_from(layout, data)


def _values(file: Path, data: bytes, count: int) -> NDArray[np.uint8]:
    if len(data) != count:
        raise ValueError(f"{file.name} holds {len(data)} values; its header says {count}")
    return np.frombuffer(data, np.uint8)


MNIST: Final = DataSet(
    name="mnist",
    summary="60,000 + 10,000 handwritten digits, 28 x 28, LeCun, Cortes, Burges",
    forms=(
        Form(
            what="an npz file with x_train, y_train, x_test, y_test, images uint8",
            files=("mnist.npz",),
            read=read_npz,
            folders=("", "mnist", "MNIST"),
        ),
        Form(
            what="the four idx files, plain or .gz",
            files=(
                "train-images-idx3-ubyte",
                "train-labels-idx1-ubyte",
                "t10k-images-idx3-ubyte",
                "t10k-labels-idx1-ubyte",
            ),
            read=read_idx,
            folders=("", "mnist", "MNIST/raw", "MNIST"),
            endings=("", ".gz"),
        ),
    ),
    source="yann.lecun.com/exdb/mnist or a mirror: the mnist.npz of Keras, the MNIST/raw folder "
    "of torchvision",
    licence="CC BY-SA 3.0",
    stand_in="task: {name: pixels, source: digits}",
    content_sha256="a7f6c59c6d3a6ca43a3c01f2119eaccc6006bdb6205f32ee7c278430fb02ebbb",
)
