"""A user's own sequences, from an npz or a Parquet file.

N sequences, T time steps, I numbers a step. ``docs/own-data.md`` says the same for users.
"""

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from longhaul_trainers.data.columns import Column, Parts, Ragged, ragged
from longhaul_trainers.data.data_set import DataSet, Form
from longhaul_trainers.data.folders import data_folder

ENDINGS: Final = (".npz", ".parquet")
SPLITS: Final = ("train", "validation", "test")
"""What the key ``split`` may say; in the tables, the place in this list."""
TABLE: Final = "sequences"
"""The one table that is made of a file: ``inputs``, and, where the file has them, ``labels``
(places among the sorted labels) and ``split``."""

Numbers = NDArray[np.generic]


def own_data(file: str) -> DataSet:
    """The data set of a user's file; a relative name is one in the data folder, if there is one."""
    path = (data_folder() or Path.cwd()) / Path(file).expanduser()
    read = read_parquet if path.suffix == ".parquet" else read_npz
    keys = "inputs, and optionally labels, lengths, split"
    if path.suffix == ".parquet":
        keys = "a column inputs, one sequence a row, and optionally labels, split"
    return DataSet(
        name=f"own-{re.sub(r'[^a-z0-9_.-]', '-', path.stem.lower())}",
        summary="a user's own sequences",
        forms=(Form(what=f"{path.suffix[1:]} with {keys}", files=(str(path),), read=read),),
        source="whoever wrote it; docs/own-data.md says what is in it",
        licence="the user's",
        stand_in="task: {name: sequences, file: null}",
    )


def read_npz(files: Sequence[Path]) -> Parts:
    """The table of an npz file.

    Raises:
        ValueError: what is wrong with it, in words.
    """
    with np.load(files[0], allow_pickle=False) as archive:
        if "inputs" not in archive.files:
            raise ValueError(f"no key 'inputs'; found {', '.join(archive.files) or 'none'}")
        known = ("inputs", "labels", "lengths", "split")
        held = {key: _loaded(archive, key) for key in known if key in archive.files}
    return _table(_padded(held["inputs"], held.get("lengths")), held)


def read_parquet(files: Sequence[Path]) -> Parts:
    """The table of a Parquet file.

    Raises:
        ValueError: what is wrong with it, in words.
    """
    from pyarrow import parquet  # imported here: 0.3 s

    found = parquet.read_schema(files[0]).names
    if "inputs" not in found:
        raise ValueError(f"no column 'inputs'; found {', '.join(found) or 'none'}")
    wanted = [name for name in ("inputs", "labels", "split") if name in found]
    table = parquet.read_table(files[0], columns=wanted)
    empty = [name for name in wanted if table[name].null_count]
    if empty:
        raise ValueError(f"column {empty[0]!r} has empty cells")
    held = {name: np.array(table[name].to_pylist()) for name in wanted if name != "inputs"}
    return _table(_lists(table["inputs"].combine_chunks()), held)


def _loaded(archive: Any, key: str) -> Numbers:
    try:
        array: Numbers = archive[key]
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
        raise ValueError(
            f"{key!r} holds Python objects, which are never loaded: sequences of different "
            "lengths are padded to one array, with their lengths under 'lengths'"
        ) from error
    return array


def _padded(inputs: Numbers, lengths: Numbers | None) -> Ragged:
    """The sequences of an array (N, T) or (N, T, I)."""
    if inputs.ndim == 2:
        inputs = inputs[:, :, None]
    if inputs.ndim != 3 or inputs.dtype.kind not in "biuf" or 0 in inputs.shape:
        found = f"{inputs.dtype} {inputs.shape}"
        raise ValueError(f"'inputs' is {found}; expected numbers (N, T) or (N, T, I)")
    count, steps, _ = inputs.shape
    if lengths is None:
        offsets = np.arange(0, (count + 1) * steps, steps, dtype=np.int64)
        return Ragged(inputs.reshape(count * steps, -1).astype(np.float32), offsets)
    if lengths.shape != (count,) or lengths.dtype.kind not in "iu":
        found = f"{lengths.dtype} {lengths.shape}"
        raise ValueError(f"'lengths' is {found}; expected whole numbers ({count},)")
    if lengths.min() < 1 or lengths.max() > steps:
        raise ValueError(
            f"'lengths' go from {lengths.min()} to {lengths.max()}; expected 1 to {steps}"
        )
    kept = [one[:length] for one, length in zip(inputs, lengths.tolist(), strict=True)]
    return ragged([one.astype(np.float32) for one in kept])


def _lists(column: Any) -> Ragged:
    """The sequences of a column of lists of numbers, or of lists of lists of numbers."""
    import pyarrow as pa  # imported here: 0.3 s

    problem = f"column 'inputs' is {column.type}; expected lists of numbers, or lists of such lists"
    ends = _ends(column, problem)
    values = column.flatten()
    width = 1
    if _is_list(values.type):
        widths = np.diff(_ends(values, problem))
        if len(widths) == 0 or widths.min() != widths.max() or widths[0] == 0:
            found = sorted({*widths.tolist()})[:5]
            raise ValueError(f"the steps in 'inputs' hold {found} numbers; expected equally many")
        width = int(widths[0])
        values = values.flatten()
    if not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type)):
        raise ValueError(problem)
    if values.null_count:
        raise ValueError("'inputs' has empty values in its lists")
    numbers = values.to_numpy(zero_copy_only=False).astype(np.float32)
    return Ragged(numbers.reshape(-1, width), ends)


def _is_list(type_: Any) -> bool:
    import pyarrow as pa

    kinds = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(kind(type_) for kind in kinds)


def _ends(column: Any, problem: str) -> NDArray[np.int64]:
    from pyarrow import compute  # imported here: 0.3 s

    if not _is_list(column.type):
        raise ValueError(problem)
    if column.null_count:
        raise ValueError("'inputs' has empty values in its lists")
    offsets = np.zeros(len(column) + 1, dtype=np.int64)
    lengths = compute.call_function("list_value_length", [column])
    np.cumsum(lengths.to_numpy(zero_copy_only=False), out=offsets[1:])
    return offsets


def _table(inputs: Ragged, held: dict[str, Numbers]) -> Parts:
    if (np.diff(inputs.offsets) < 1).any():
        raise ValueError(f"sequence {int(np.diff(inputs.offsets).argmin())} has no steps")
    bad = ~np.isfinite(inputs.values).all(axis=1)
    if bad.any():
        row = int(bad.argmax())
        sequence = int(np.searchsorted(inputs.offsets, row, side="right")) - 1
        step = row - int(inputs.offsets[sequence])
        raise ValueError(
            f"'inputs' of sequence {sequence} is no finite number (as float32) at step {step}"
        )
    columns: dict[str, Column] = {"inputs": inputs}
    for key, read in {"labels": _labels, "split": _split}.items():
        if key in held:
            if held[key].shape != (len(inputs),):
                expected = f"one for each of {len(inputs)} sequences"
                raise ValueError(f"{key!r} has the shape {held[key].shape}; expected {expected}")
            columns[key] = read(held[key])
    return {TABLE: columns}


def _labels(labels: Numbers) -> NDArray[np.int64]:
    if labels.dtype.kind not in "biuSU":
        raise ValueError(f"'labels' are {labels.dtype}; expected whole numbers or texts")
    places: NDArray[np.int64] = np.unique(labels, return_inverse=True)[1].astype(np.int64)
    return places


def _split(words: Numbers) -> NDArray[np.int64]:
    given = words.astype(str)
    unknown = sorted(set(given.tolist()) - set(SPLITS))
    if unknown:
        raise ValueError(f"'split' says {unknown[0]!r}; expected one of {', '.join(SPLITS)}")
    places = np.stack([given == word for word in SPLITS]).argmax(axis=0)
    at: NDArray[np.int64] = places.astype(np.int64, copy=False)
    return at


def example_data() -> DataSet:
    """Waves to try things with: 300 sequences of 20 to 40 steps, of three periods, with noise."""
    return DataSet(
        name="own-example",
        summary="300 noisy waves of three periods",
        forms=(),
        source="this program",
        licence="Apache-2.0",
        bundled=partial(_waves, 300),
    )


def _waves(count: int) -> Parts:
    from longhaul_trainers.counter import Stream, integers, uniform32

    words = Stream("sequences", "example").words(count, 3 + 40)
    lengths = 20 + integers(words[:, 0], 21)
    labels = integers(words[:, 1], 3)
    phase = uniform32(words[:, 2])
    noise = uniform32(words[:, 3:]) - np.float32(0.5)
    steps = np.arange(40)
    turns = steps / np.array([5, 8, 13])[labels][:, None] + phase[:, None]
    waves = (np.sin(2 * np.pi * turns) + noise).astype(np.float32)
    held: dict[str, Numbers] = {"labels": labels}
    return _table(_padded(waves, lengths), held)
