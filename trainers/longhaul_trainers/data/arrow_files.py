"""Tables of numbers as Arrow files, one a part, read by mapping them into memory.

A file holds one record batch. A column (N, a, b) is a fixed-size list of a * b numbers with the
shape (a, b) in the field's metadata; a `Ragged` one is a large list. Any Arrow reader reads them.
"""

import json
import os
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from longhaul_trainers.data.columns import Column, Parts, Ragged, Table

SUFFIX = ".arrow"


def write_parts(folder: Path, parts: Parts) -> None:
    """Writes ``folder/PART.arrow`` for each part and syncs them.

    Raises:
        OSError: as writing does, for example no space left.
    """
    import pyarrow as pa  # imported here: 0.3 s

    for name, table in parts.items():
        arrays, fields = [], []
        for column, values in table.items():
            array, shape = _encoded(values)
            arrays.append(array)
            fields.append(pa.field(column, array.type, metadata={"shape": json.dumps(shape)}))
        batch = pa.record_batch(arrays, schema=pa.schema(fields))
        with open(folder / f"{name}{SUFFIX}", "xb") as file:
            with pa.ipc.new_file(file, batch.schema) as writer:
                writer.write_batch(batch)
            file.flush()
            os.fsync(file.fileno())


def read_parts(folder: Path) -> Parts:
    """The parts in a folder; arrays are read-only and stay on disk until they are looked at.

    Raises:
        OSError, ValueError: a file is torn or not one of ours.
    """
    files = sorted(folder.glob(f"*{SUFFIX}"))
    return {file.stem: _read(file) for file in files}


def _read(file: Path) -> Table:
    import pyarrow as pa  # imported here: 0.3 s

    # The arrays keep the mapping alive, also after the file was replaced or removed.
    reader = pa.ipc.open_file(pa.memory_map(str(file)))
    if reader.num_record_batches != 1:
        raise ValueError(f"{file}: expected one record batch, found {reader.num_record_batches}")
    batch = reader.get_batch(0)
    return {
        field.name: _decoded(column, field.metadata)
        for field, column in zip(batch.schema, batch.columns, strict=True)
    }


def _encoded(values: Column) -> tuple[Any, list[int]]:
    import pyarrow as pa

    if isinstance(values, Ragged):
        inner, shape = _encoded(values.values)
        return pa.LargeListArray.from_arrays(pa.array(values.offsets), inner), shape
    shape = list(values.shape[1:])
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    return (pa.FixedSizeListArray.from_arrays(flat, prod(shape)) if shape else flat), shape


def _decoded(column: Any, metadata: Mapping[bytes, bytes]) -> Column:
    import pyarrow as pa

    shape = json.loads(metadata[b"shape"])
    if pa.types.is_large_list(column.type):
        offsets = column.offsets.to_numpy(zero_copy_only=True)
        return Ragged(_numbers(column.values, shape), offsets)
    return _numbers(column, shape)


def _numbers(column: Any, shape: list[int]) -> NDArray[np.generic]:
    import pyarrow as pa

    length = len(column)
    if pa.types.is_fixed_size_list(column.type):
        column = column.flatten()
    array: NDArray[np.generic] = column.to_numpy(zero_copy_only=True)
    return array.reshape(length, *shape)
