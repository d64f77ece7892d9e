"""What a data set holds: parts, each a table of columns with one entry a sample."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Ragged:
    """N samples of different lengths, end to end.

    Attributes:
        values: (total, ...).
        offsets: int64 (N + 1,), from 0 to total; sample i is values[offsets[i] : offsets[i + 1]].
    """

    values: NDArray[np.generic]
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> NDArray[np.generic]:
        return self.values[self.offsets[index] : self.offsets[index + 1]]


def ragged(samples: Sequence[NDArray[np.generic]]) -> Ragged:
    """Samples (n, ...) of different n, one at least, as one column."""
    offsets = np.zeros(len(samples) + 1, dtype=np.int64)
    np.cumsum([len(sample) for sample in samples], out=offsets[1:])
    return Ragged(np.concatenate(samples), offsets)


Column = NDArray[np.generic] | Ragged
"""N samples: numbers (N, ...), or of different lengths."""

Table = Mapping[str, Column]
Parts = Mapping[str, Table]
"""Tables by the name of the part, for example ``train`` and ``test``."""


def numbers(table: Table, column: str) -> NDArray[np.generic]:
    """A column whose samples have one shape, (N, ...).

    Raises:
        TypeError: they are of different lengths.
    """
    values = table[column]
    if isinstance(values, Ragged):
        raise TypeError(f"{column} holds samples of different lengths")
    return values


def check_parts(parts: Parts) -> None:
    """Refuses what is no table of numbers.

    Raises:
        ValueError: columns of different lengths, offsets that do not fit, or no numbers.
    """
    for name, table in parts.items():
        lengths = {column: len(values) for column, values in table.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"the columns of {name} have different lengths: {lengths}")
        for column, values in table.items():
            _check_column(f"{name}.{column}", values)


def content_sha256(parts: Parts) -> str:
    """SHA-256 of everything in the parts, whatever file they came from: names, shapes, numbers."""
    digest = hashlib.sha256()
    for name in sorted(parts):
        for column in sorted(parts[name]):
            values = parts[name][column]
            arrays = (values.values, values.offsets) if isinstance(values, Ragged) else (values,)
            for array in arrays:
                little = array.astype(array.dtype.newbyteorder("<"), copy=False)
                digest.update(f"{name}/{column}:{little.dtype.str}{little.shape};".encode())
                digest.update(np.ascontiguousarray(little).data)
    return digest.hexdigest()


def _check_column(name: str, values: Column) -> None:
    array = values.values if isinstance(values, Ragged) else values
    if array.dtype.kind not in "iuf":
        raise ValueError(f"{name} holds {array.dtype}; expected whole or floating point numbers")
    if isinstance(values, Ragged):
        offsets = values.offsets
        if offsets.dtype != np.int64 or offsets.ndim != 1 or len(offsets) == 0:
            raise ValueError(f"the offsets of {name} are {offsets.dtype} {offsets.shape}")
        if offsets[0] != 0 or offsets[-1] != len(array) or (np.diff(offsets) < 0).any():
            raise ValueError(f"the offsets of {name} do not go from 0 to {len(array)}")
