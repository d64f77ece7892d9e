"""Opening a data set: found, converted at the first time, mapped into memory."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from longhaul_trainers.data.arrow_files import read_parts
from longhaul_trainers.data.columns import Parts, content_sha256
from longhaul_trainers.data.conversion import (
    Converted,
    convert,
    damaged,
    discard,
    find_converted,
    sources_of,
)
from longhaul_trainers.data.data_set import DataSet
from longhaul_trainers.data.known import DATA_SETS
from longhaul_trainers.errors import DataError, DataWarning

State = Literal["bundled", "ready", "found", "missing"]


@dataclass(frozen=True)
class Status:
    """What is there of a data set.

    Attributes:
        state: ``ready`` is converted; ``found`` will be at its first use.
        files: the files that were found.
        converted: the folder of the converted files.
        content_sha256: of the tables; empty before they were converted.
        official: whether that is what the literature used; None where it is unknown.
        damaged: whether a file or the converted ones cannot be used as they are.
        problem: what is missing, wrong or odd, empty if nothing is.
    """

    state: State
    files: tuple[Path, ...] = ()
    converted: Path | None = None
    content_sha256: str = ""
    official: bool | None = None
    damaged: bool = False
    problem: str = ""


_opened: dict[tuple[object, ...], Parts] = {}


def open_data(data_set: str | DataSet) -> Parts:
    """The tables of a data set; converted files are read-only arrays mapped into memory.

    Args:
        data_set: the name of one in `DATA_SETS`, or one that a task has made.

    Raises:
        MissingDataError: a file is not there.
        UnusableDataError: a file is torn, or is not what it should be.
        DataStorageError: no place or no room for the converted files.
    """
    known = _known(data_set)
    if known.bundled is not None:
        return _remembered((known.name, known.variant), known.bundled)
    form, files = known.require()
    looks = tuple((file, (stat := file.stat()).st_size, stat.st_mtime_ns) for file in files)

    def read() -> Parts:
        converted = _usable(known, files) or convert(known, form, files)
        _warn(known, converted)
        return read_parts(converted.folder)

    return _remembered((known.name, known.version, known.variant, looks), read)


def convert_data(data_set: str | DataSet) -> Status:
    """Converts a data set unless it is; raises as `open_data`."""
    known = _known(data_set)
    open_data(known)
    return status(known)


def status(data_set: str | DataSet, *, verify: bool = False) -> Status:
    """What is there of a data set. Nothing is converted, and no fault raises.

    Args:
        data_set: as `open_data`.
        verify: read files and converted tables through and compare their SHA-256 with those of
            the conversion.
    """
    known = _known(data_set)
    if known.bundled is not None:
        return _bundled(known, verify=verify)
    found = known.find()
    if found is None:
        return Status("missing", problem=known.missing())
    _, files = found
    try:
        converted = find_converted(known, files)
        if converted is None:
            return Status("found", files)
        problem = _verified(converted, files) if verify else ""
    except DataError as error:
        return Status("found", files, damaged=True, problem=str(error))
    sha256 = converted.content_sha256
    official = sha256 == known.content_sha256 if known.content_sha256 else None
    damaged_now = bool(problem)
    if official is False and not problem:
        problem = _not_official(known)
    return Status("ready", files, converted.folder, sha256, official, damaged_now, problem)


def _known(data_set: str | DataSet) -> DataSet:
    if isinstance(data_set, DataSet):
        return data_set
    found: DataSet = DATA_SETS.get(data_set)
    return found


def _remembered(key: tuple[object, ...], read: Callable[[], Parts]) -> Parts:
    if key not in _opened:
        _opened[key] = read()
    return _opened[key]


def _usable(data_set: DataSet, files: Sequence[Path]) -> Converted | None:
    converted = find_converted(data_set, files)
    if converted is not None and damaged(converted):
        discard(converted)
        return None
    return converted


def _warn(data_set: DataSet, converted: Converted) -> None:
    if data_set.content_sha256 and converted.content_sha256 != data_set.content_sha256:
        warnings.warn(_not_official(data_set), DataWarning, stacklevel=4)


def _not_official(data_set: DataSet) -> str:
    return (
        f"data set {data_set.name!r} can be used, but is not what the literature used: "
        "its content has another SHA-256"
    )


def _verified(converted: Converted, files: Sequence[Path]) -> str:
    """What is wrong with files and tables, read through; empty if nothing is."""
    now = [source.sha256 for source in sources_of(files)]
    if now != [source.sha256 for source in converted.sources]:
        return "a file is not the one that was converted, though it looks the same: touch it"
    if damaged(converted):
        return f"{converted.folder} is damaged; it is made anew at the next use"
    if content_sha256(read_parts(converted.folder)) != converted.content_sha256:
        return f"{converted.folder} was changed after it was made: remove it"
    return ""


def _bundled(data_set: DataSet, *, verify: bool) -> Status:
    try:
        if not verify:
            return Status("bundled")
        sha256 = content_sha256(open_data(data_set))
    except DataError as error:
        return Status("missing", problem=str(error))
    official = sha256 == data_set.content_sha256 if data_set.content_sha256 else None
    problem = _not_official(data_set) if official is False else ""
    return Status("bundled", content_sha256=sha256, official=official, problem=problem)
