"""Converting a data set's files once, so that it appears whole or not at all.

The tables are written into a folder of a temporary name, synced, and renamed. Of two processes
that convert at the same time, one renames first; the other then takes what is there.
"""

import errno
import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from longhaul_trainers.data.arrow_files import read_parts, write_parts
from longhaul_trainers.data.columns import Parts, Ragged, check_parts, content_sha256
from longhaul_trainers.data.data_set import DataSet, Form
from longhaul_trainers.data.folders import converted_folders, is_writable
from longhaul_trainers.errors import DataStorageError, UnusableDataError

FORMAT: Final = 1
"""Counts up when converted files are laid out in another way."""
ABOUT: Final = "about.json"
_TEMPORARY: Final = "tmp-"
_ABANDONED_S: Final = 86400.0
_REFUSED: Final = {errno.EACCES, errno.EPERM, errno.EROFS}
_FULL: Final = {errno.ENOSPC, errno.EDQUOT}
_TAKEN: Final = {errno.EEXIST, errno.ENOTEMPTY}


@dataclass(frozen=True)
class Source:
    """A file as it was when it was converted."""

    name: str
    size: int
    mtime_ns: int
    sha256: str


@dataclass(frozen=True)
class Converted:
    """Converted files.

    Attributes:
        folder: where they are.
        sources: the files that they were made of.
        content_sha256: of the tables.
        parts: their names.
    """

    folder: Path
    sources: tuple[Source, ...]
    content_sha256: str
    parts: tuple[str, ...]

    def made_of(self, files: Sequence[Path]) -> bool:
        """Whether the files look as they did: name, size and time of change."""
        seen = [(file.name, (stat := file.stat()).st_size, stat.st_mtime_ns) for file in files]
        return seen == [(one.name, one.size, one.mtime_ns) for one in self.sources]


def sources_of(files: Sequence[Path]) -> tuple[Source, ...]:
    """Reads the files through for their SHA-256.

    Raises:
        UnusableDataError: a file cannot be read.
    """
    return tuple(_source(file) for file in files)


def find_converted(data_set: DataSet, files: Sequence[Path]) -> Converted | None:
    """What the files were converted to, told by their looks, else by their content."""
    known = [one for place in converted_folders() for one in _listed(data_set, place)]
    same = next((one for one in known if one.made_of(files)), None)
    if same is not None or not known:
        return same
    name = _folder_name(data_set, sources_of(files))
    return next((one for one in known if one.folder.name == name), None)


def convert(data_set: DataSet, form: Form, files: Sequence[Path]) -> Converted:
    """Converts a data set, or takes what another process has just converted.

    Raises:
        UnusableDataError: a file is torn, or is not what it should be.
        DataStorageError: no place or no room for the converted files.
    """
    sources = sources_of(files)
    parts = _read(data_set, form, files)
    about = {
        "format": FORMAT,
        "name": data_set.name,
        "version": data_set.version,
        "variant": data_set.variant,
        "content_sha256": content_sha256(parts),
        "parts": sorted(parts),
        "sources": [asdict(source) for source in sources],
    }
    name = _folder_name(data_set, sources)
    for place in converted_folders():
        if not is_writable(place):
            continue
        try:
            _write(place, name, parts, about)
        except OSError as error:
            if error.errno in _REFUSED:
                continue
            raise DataStorageError(_no_room(data_set, place, parts, error)) from error
        converted = _about(place / name)
        if converted is not None:
            return converted
    places = " nor ".join(str(place) for place in converted_folders())
    raise DataStorageError(
        f"data set {data_set.name!r} cannot be converted: neither {places} can be written; "
        "set XDG_CACHE_HOME to a folder that can"
    )


def discard(converted: Converted) -> None:
    """Removes damaged files where that is allowed; those who read them are not disturbed."""
    _discard(converted.folder)


def _discard(folder: Path) -> None:
    aside = folder.with_name(f"{_TEMPORARY}{secrets.token_hex(8)}")
    try:
        folder.rename(aside)
    except OSError:
        return  # gone already, or not ours to remove
    shutil.rmtree(aside, ignore_errors=True)


def _folder_name(data_set: DataSet, sources: Sequence[Source]) -> str:
    facts = [FORMAT, data_set.version, data_set.variant, *(source.sha256 for source in sources)]
    key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    return f"{data_set.name}-{key[:16]}"


def _source(file: Path) -> Source:
    try:
        stat = file.stat()
        with open(file, "rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise UnusableDataError(f"{file}: cannot be read: {error.strerror}") from error
    return Source(file.name, stat.st_size, stat.st_mtime_ns, digest)


def _read(data_set: DataSet, form: Form, files: Sequence[Path]) -> Parts:
    try:
        parts = form.read(files)
        check_parts(parts)
    except MemoryError:
        raise
    except Exception as error:  # what libraries raise at a torn file is not written down anywhere
        why = str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}"
        named = ", ".join(str(file) for file in files)
        raise UnusableDataError(
            f"{named}: not usable as {form.what}: {why}\n"
            f"  nothing was written; get data set {data_set.name!r} again from {data_set.source}"
        ) from error
    return parts


def _write(place: Path, name: str, parts: Parts, about: dict[str, object]) -> None:
    place.mkdir(parents=True, exist_ok=True)
    _sweep(place)
    temporary = place / f"{_TEMPORARY}{secrets.token_hex(8)}"
    temporary.mkdir()
    try:
        write_parts(temporary, parts)
        with open(temporary / ABOUT, "x", encoding="utf-8") as file:
            json.dump(about, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        _sync(temporary)
        if _about(place / name) is None:
            _discard(place / name)
        try:
            temporary.rename(place / name)
        except OSError as error:
            if error.errno not in _TAKEN:
                raise
        else:
            _sync(place)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sweep(place: Path) -> None:
    """Removes what killed processes left; whoever is still writing is not that old."""
    for left in place.glob(f"{_TEMPORARY}*"):
        try:
            abandoned = time.time() - left.stat().st_mtime > _ABANDONED_S
        except OSError:
            continue
        if abandoned:
            shutil.rmtree(left, ignore_errors=True)


def _listed(data_set: DataSet, place: Path) -> list[Converted]:
    """What a place has of a data set in its present version, whatever files it was made of."""
    found = []
    for folder in sorted(place.glob(f"{data_set.name}-{'[0-9a-f]' * 16}")):
        one = _about(folder)
        if one is not None and folder.name == _folder_name(data_set, one.sources):
            found.append(one)
    return found


def _about(folder: Path) -> Converted | None:
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        sources = tuple(Source(**source) for source in about["sources"])
        return Converted(folder, sources, about["content_sha256"], tuple(about["parts"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _no_room(data_set: DataSet, place: Path, parts: Parts, error: OSError) -> str:
    said = f"data set {data_set.name!r} could not be written to {place}: {error.strerror or error}"
    if error.errno not in _FULL:
        return f"{said}; nothing is left there"
    return f"{said}; nothing is left there. It needs about {_mebibytes(parts)} MiB"


def _mebibytes(parts: Parts) -> int:
    columns = [column for table in parts.values() for column in table.values()]
    arrays = [one.values if isinstance(one, Ragged) else one for one in columns]
    return 1 + sum(array.nbytes for array in arrays) // 2**20


def damaged(converted: Converted) -> bool:
    """Whether converted files are missing or cannot be opened."""
    try:
        return sorted(read_parts(converted.folder)) != sorted(converted.parts)
    except (OSError, ValueError, KeyError):
        return True
