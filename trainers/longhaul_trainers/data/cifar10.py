"""CIFAR-10: 60,000 small photographs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from longhaul_trainers.data.columns import Parts
from longhaul_trainers.data.data_set import DataSet, Form

SIZES: Final = {"train": 50_000, "test": 10_000}
_SHAPE: Final = (3, 32, 32)
_RECORD: Final = 1 + 3 * 32 * 32
_RECORDS: Final = 10_000
_PICKLES: Final = (
    "these are the Python batches, pickles, which are never loaded, since loading one runs "
    "whatever is in it; the binary version has the same images"
)


def read_binary(files: Sequence[Path]) -> Parts:
    """Tables ``train`` and ``test`` of the six files of the binary version.

    Raises:
        ValueError: a file that is not 10,000 records of a label and 3,072 bytes.
    """
    batches = [_batch(file) for file in files]
    columns = ("image", "label")
    train = {name: np.concatenate([one[name] for one in batches[:5]]) for name in columns}
    return {"train": train, "test": batches[5]}


def _batch(file: Path) -> dict[str, NDArray[np.uint8]]:
    data = np.fromfile(file, np.uint8)
    if len(data) != _RECORDS * _RECORD:
        wanted = f"{_RECORDS} records of {_RECORD} bytes, {_RECORDS * _RECORD}"
        raise ValueError(f"{file.name} has {len(data)} bytes; expected {wanted}")
    records = data.reshape(_RECORDS, _RECORD)
    labels = records[:, 0].copy()
    if labels.max() > 9:
        raise ValueError(f"{file.name} has label {labels.max()}; expected 0 to 9")
    return {"image": records[:, 1:].reshape(_RECORDS, *_SHAPE), "label": labels}


CIFAR10: Final = DataSet(
    name="cifar10",
    summary="50,000 + 10,000 photographs, 3 x 32 x 32, Krizhevsky",
    forms=(
        Form(
            what="the binary version: five training batches and the test batch",
            files=(*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"),
            read=read_binary,
            folders=("cifar-10-batches-bin", "", "cifar10"),
        ),
    ),
    source="cifar-10-binary.tar.gz of www.cs.toronto.edu/~kriz/cifar.html, unpacked",
    licence="none stated; research use",
    stand_in="task: {name: pixels, source: digits, scan: rows, length: 1000}",
    refused={
        "cifar-10-batches-py": _PICKLES,
        "cifar-10-python.tar.gz": _PICKLES,
        "data_batch_1": _PICKLES,
        "cifar-10-binary.tar.gz": "unpack it",
    },
)
