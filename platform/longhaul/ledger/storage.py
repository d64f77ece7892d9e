# ruff: noqa: D102 - what LocalStorage does is said in Storage
"""Where a search is kept: whole files, written atomically and durably, under one root.

Everything the ledger promises rests on five operations that object stores have as well: write a
whole file, create one only if it is absent, read, list, delete. No file is ever appended to.
"""

import contextlib
import errno
import os
import re
import secrets
import shutil
import stat
import time
import zlib
from abc import ABC, abstractmethod
from functools import cache
from pathlib import Path, PurePosixPath
from typing import final
from urllib.parse import unquote, urlsplit

from longhaul.errors import RequestError
from longhaul.ledger.errors import StorageError, StorageFullError
from longhaul.ledger.owner import process_state, this_machine

_TEMPORARY = ".tmp-"
_ABANDONED_S = 86400.0
_FULL = {errno.ENOSPC, errno.EDQUOT}
# What a file system without hard links answers to link(2).
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV}
_SEARCH_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


class Storage(ABC):
    """A tree of whole files. Paths are relative, with forward slashes.

    No part of a path may begin with a dot: those names are the storage's own. A path that leaves
    the root is refused with a `RequestError`.
    """

    uri: str

    @abstractmethod
    def folder(self, path: str) -> "Storage":
        """The part of the storage below a folder, which need not exist yet."""

    @abstractmethod
    def write(self, path: str, data: bytes) -> None:
        """Replace a file by new content.

        Whoever reads at the same time sees the old or the new content, never a mixture. When this
        returns, the content survives a loss of power.

        Raises:
            StorageFullError: no space; the old content is intact.
            StorageError: the storage refused for another reason; likewise.
        """

    @abstractmethod
    def create(self, path: str, data: bytes) -> bool:
        """Write a file only if it is absent; of several callers exactly one succeeds.

        Returns:
            Whether this call created it. The file appears with its complete content.
        """

    @abstractmethod
    def read(self, path: str) -> bytes:
        """The content of a file; `FileNotFoundError` if there is none."""

    @abstractmethod
    def list(self, folder: str) -> list[str]:
        """Sorted names of the files and folders in a folder; empty if it is missing."""

    @abstractmethod
    def exists(self, path: str) -> bool:
        """Whether there is a file or folder of this name."""

    @abstractmethod
    def delete(self, path: str) -> None:
        """Remove a file or a whole folder; nothing happens if it is missing.

        A removal may be undone by a loss of power: nothing may depend on its being durable.
        """

    @abstractmethod
    def rename(self, old: str, new: str) -> None:
        """Give a file another name, replacing what had it."""

    @abstractmethod
    def sweep(self, folder: str) -> None:
        """Remove what interrupted writers left in a folder, and nothing of living ones."""

    @abstractmethod
    def age_s(self, path: str) -> float | None:
        """Seconds since a file was written, by the clock of the storage; None if missing."""

    @abstractmethod
    def local_path(self, path: str) -> Path | None:
        """The file as a path of this machine, if it is one."""


@final
class LocalStorage(Storage):
    """A folder of a file system, local or mounted.

    A write goes to a temporary file in the same folder, which is synced and renamed; the folder is
    synced after it. `create` links the complete temporary file to its final name; on a file system
    without hard links it falls back to exclusive creation, which is still exclusive, but a reader
    may then see the file before its content.

    Args:
        root: the folder; created by the first write.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(os.path.abspath(root))
        self.uri = str(self.root)

    def __repr__(self) -> str:
        return f"LocalStorage({self.uri!r})"

    def folder(self, path: str) -> "LocalStorage":
        return LocalStorage(self._resolve(path))

    def write(self, path: str, data: bytes) -> None:
        target = self._resolve(path)
        with _explained(target, len(data)):
            temporary = _write_temporary(target, data)
            try:
                os.replace(temporary, target)
            except BaseException:
                _unlink(temporary)
                raise
            _sync_folder(target.parent)

    def create(self, path: str, data: bytes) -> bool:
        target = self._resolve(path)
        with _explained(target, len(data)):
            temporary = _write_temporary(target, data)
            try:
                created = _link(temporary, target, data)
            finally:
                _unlink(temporary)
            if created:
                _sync_folder(target.parent)
        return created

    def read(self, path: str) -> bytes:
        target = self._resolve(path)
        try:
            with open(target, "rb") as file:
                return file.read()
        except (FileNotFoundError, NotADirectoryError):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(target)) from None
        except OSError as error:
            raise StorageError(f"cannot read {target}: {error.strerror}") from error

    def list(self, folder: str) -> list[str]:
        target = self._resolve(folder) if folder else self.root
        try:
            return sorted(name for name in os.listdir(target) if not name.startswith("."))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise StorageError(f"cannot list {target}: {error.strerror}") from error

    def exists(self, path: str) -> bool:
        target = self._resolve(path)
        try:
            os.stat(target)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:  # "no" would be a guess, and leases depend on the answer
            raise StorageError(f"cannot look for {target}: {error.strerror}") from error
        return True

    def delete(self, path: str) -> None:
        target = self._resolve(path)
        try:
            if target.is_dir() and not target.is_symlink():
                shutil.rmtree(target)
            else:
                target.unlink(missing_ok=True)
        except FileNotFoundError:  # somebody else is removing it too
            return
        except OSError as error:
            raise StorageError(f"cannot remove {target}: {error.strerror}") from error

    def rename(self, old: str, new: str) -> None:
        source, target = self._resolve(old), self._resolve(new)
        with _explained(target, 0):
            os.replace(source, target)
            _sync_folder(target.parent)

    def sweep(self, folder: str) -> None:
        target = self._resolve(folder)
        with contextlib.suppress(FileNotFoundError):
            for name in os.listdir(target):
                if name.startswith(_TEMPORARY) and _is_abandoned(target / name):
                    _unlink(target / name)

    def age_s(self, path: str) -> float | None:
        target = self._resolve(path)
        try:
            written = target.stat().st_mtime
        except OSError:
            return None
        # A file server's clock may differ from ours: let it stamp a file now.
        probe = target.parent / _temporary_name()
        try:
            probe.touch(exist_ok=False)
            now = probe.stat().st_mtime
        except OSError:
            now = time.time()
        finally:
            _unlink(probe)
        return max(0.0, now - written)

    def local_path(self, path: str) -> Path:
        return self._resolve(path)

    def _resolve(self, path: str) -> Path:
        check_path(path)
        place = self.uri
        for part in path.split("/"):
            place = os.path.join(place, part)
            try:
                linked = stat.S_ISLNK(os.lstat(place).st_mode)
            except OSError:
                break
            if linked and not self._contains(place):
                raise RequestError(f"{path!r} is a link that leaves the storage {self.uri}")
        return self.root / path

    def _contains(self, link: str) -> bool:
        root, target = os.path.realpath(self.root), os.path.realpath(link)
        return os.path.commonpath((root, target)) == root


def open_storage(uri: str | os.PathLike[str]) -> Storage:
    """The storage at an address: a folder, or a ``file://`` or ``s3://`` address.

    Raises:
        RequestError: the address is of another kind, or boto3 is missing for the last.
    """
    text = os.fspath(uri)
    scheme, separator, _ = text.partition("://")
    if not separator:
        if not text:
            raise RequestError("the storage is empty; give a folder, for example ./longhaul-runs")
        return LocalStorage(os.path.expanduser(text))
    if scheme == "file":
        parts = urlsplit(text)
        if parts.netloc not in ("", "localhost") or not parts.path:
            raise RequestError(f"storage {text!r}: a file address has the form file:///folder")
        return LocalStorage(unquote(parts.path))
    if scheme == "s3":
        # imported here: it needs what only this kind of storage needs
        from longhaul.ledger.s3 import S3Storage

        return S3Storage.at(text)
    raise RequestError(
        f"storage {text!r}: {scheme}:// is not known; give a folder (an NFS mount works) or "
        "s3://BUCKET/PREFIX"
    )


def check_path(path: str) -> None:
    """Refuse a path that is absolute, climbs, or has a part that begins with a dot."""
    parts = path.split("/")
    if (
        not path
        or "\0" in path
        or "\\" in path
        or any(part == "" or part.startswith(".") for part in parts)
        or PurePosixPath(path).is_absolute()
    ):
        raise RequestError(f"{path!r} is not a path inside a storage")


def is_search_name(name: str) -> bool:
    """Whether this can name a search: it becomes a folder, a tag and a part of addresses."""
    return _SEARCH_NAME.fullmatch(name) is not None


def check_search_name(name: str) -> None:
    """Refuse what cannot name a search."""
    if not is_search_name(name):
        raise RequestError(
            f"{name!r} cannot name a search: use 1 to 63 of a-z, 0-9, dot, underscore and hyphen, "
            "beginning with a letter or a digit"
        )


def _temporary_name() -> str:
    return f"{_TEMPORARY}{_machine_tag()}-{os.getpid()}-{secrets.token_hex(6)}"


@cache
def _machine_tag() -> str:
    return f"{zlib.crc32(this_machine().encode()):08x}"


def _is_abandoned(temporary: Path) -> bool:
    """Whether the process that wrote a temporary file is gone, or the file very old."""
    machine, _, rest = temporary.name.removeprefix(_TEMPORARY).partition("-")
    pid = rest.partition("-")[0]
    if this_machine() and machine == _machine_tag() and pid.isdecimal():
        return process_state(int(pid)) is None
    try:
        return time.time() - temporary.stat().st_mtime > _ABANDONED_S
    except OSError:
        return False


def _write_temporary(target: Path, data: bytes) -> Path:
    """A synced temporary file beside the target; nothing is left behind on an error."""
    temporary = target.parent / _temporary_name()
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except FileNotFoundError:
        _make_folders(target.parent)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        try:
            _write_all(descriptor, data)
        finally:
            os.close(descriptor)
    except BaseException:
        _unlink(temporary)
        raise
    return temporary


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
    os.fsync(descriptor)


def _link(temporary: Path, target: Path, data: bytes) -> bool:
    try:
        os.link(temporary, target)
    except FileExistsError:
        # An NFS server may answer a repeated request with "exists" although it was ours.
        return os.path.samestat(os.stat(temporary), os.stat(target))
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return _create_in_place(target, data)
    return True


def _create_in_place(target: Path, data: bytes) -> bool:
    """Exclusive, but visible before it is complete: for file systems without hard links."""
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except FileExistsError:
        return False
    try:
        _write_all(descriptor, data)
    except BaseException:
        _unlink(target)
        raise
    finally:
        os.close(descriptor)
    return True


def _make_folders(folder: Path) -> None:
    """Create a folder with its parents, each made durable in its own parent."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for new in reversed(missing):
        with contextlib.suppress(FileExistsError):
            new.mkdir()
        _sync_folder(new.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot sync a folder, and need not.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def _unlink(path: Path) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


class _explained(contextlib.AbstractContextManager[None]):  # noqa: N801 - used like a function
    """Turn an `OSError` of a write into one that says what, where and what to do."""

    def __init__(self, target: Path, size: int) -> None:
        self.target = target
        self.size = size

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, OSError) or isinstance(error, StorageError):
            return
        if error.errno in _FULL:
            raise StorageFullError(
                f"no space left on the storage for {self.target} ({self.size} bytes). What was "
                "there before is intact: free some space, then go on."
            ) from error
        raise StorageError(f"cannot write {self.target}: {error.strerror or error}") from error
