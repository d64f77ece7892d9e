"""The digits that come with scikit-learn: 1,797 handwritten ones, 8 x 8."""

import gzip
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np

from longhaul_trainers.data.columns import Parts
from longhaul_trainers.data.data_set import DataSet
from longhaul_trainers.errors import MissingDataError, UnusableDataError

SIZES: Final = {"train": 1437, "test": 360}
_SIDE: Final = 8


def read_bundled() -> Parts:
    """Tables ``train`` and ``test``, the first four fifths and the rest, images 0 to 16.

    The file is in the order in which it was collected, so that training and test digits are by
    different writers, as far as that order tells.

    Raises:
        MissingDataError: scikit-learn is not installed.
        UnusableDataError: its file is not the one that is meant.
    """
    file = _file()
    try:
        with gzip.open(file, "rt", encoding="ascii") as lines:
            table = np.loadtxt(lines, delimiter=",")
    except (OSError, EOFError, ValueError) as error:
        raise UnusableDataError(f"{file}: cannot be read: {error}") from error
    total = sum(SIZES.values())
    if table.shape != (total, _SIDE * _SIDE + 1):
        expected = (total, _SIDE * _SIDE + 1)
        raise UnusableDataError(f"{file}: a table {table.shape}; expected {expected}")
    images = table[:, :-1].astype(np.uint8).reshape(-1, _SIDE, _SIDE)
    labels = table[:, -1].astype(np.uint8)
    first = SIZES["train"]
    return {
        "train": {"image": images[:first], "label": labels[:first]},
        "test": {"image": images[first:], "label": labels[first:]},
    }


def _file() -> Path:
    # Found without an import: scikit-learn takes seconds, its file a few milliseconds.
    spec = find_spec("sklearn")
    for folder in (spec and spec.submodule_search_locations) or ():
        file = Path(folder) / "datasets" / "data" / "digits.csv.gz"
        if file.is_file():
            return file
    raise MissingDataError(
        "the digits come with scikit-learn, which is not there: pip install scikit-learn"
    )


DIGITS: Final = DataSet(
    name="digits",
    summary="1,797 handwritten digits, 8 x 8, Alpaydin, Kaynak; the offline stand-in for mnist",
    forms=(),
    source="scikit-learn, where it is installed",
    licence="CC BY 4.0",
    content_sha256="970a06792a36f46a8e2fcf756ed170a963ccf39b4eca6bb7b0fc5e0409d8286b",
    bundled=read_bundled,
)
