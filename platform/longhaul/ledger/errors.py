"""What can go wrong with the record of a search."""

import errno
from collections.abc import Sequence
from difflib import get_close_matches

from longhaul.errors import LonghaulError, RequestError


class StorageError(LonghaulError, OSError):
    """The storage could not do what was asked; what it held before is intact."""


class StorageFullError(StorageError):
    """No space, or no quota, is left on the storage."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.errno = errno.ENOSPC


class LedgerFormatError(LonghaulError):
    """A file was written by a newer version of Longhaul than this one."""


class SearchExistsError(RequestError):
    """A search of this name is already in the storage."""

    def __init__(self, name: str, storage: str) -> None:
        super().__init__(
            f"search {name!r} already exists in {storage}. "
            f"Continue it with `longhaul resume {name}`, or choose another name with --name."
        )
        self.name = name


class UnknownSearchError(RequestError, LookupError):
    """No search of this name is in the storage."""

    def __init__(self, name: str, storage: str, known: Sequence[str]) -> None:
        close = get_close_matches(name, known, n=1)
        meant = f" Did you mean {close[0]!r}?" if close else ""
        there = ", ".join(known[:10]) + (", ..." if len(known) > 10 else "")
        super().__init__(
            f"no search {name!r} in {storage}.{meant} "
            + (f"There: {there}." if known else "There are no searches there.")
        )
        self.name = name


class SearchOwnedError(RequestError):
    """Another process runs this search now.

    Args:
        name: the search.
        owner: the other process, a `longhaul.ledger.lease.Owner` or its description.
    """

    def __init__(self, name: str, owner: object) -> None:
        super().__init__(
            f"search {name!r} is being run by {owner}. "
            f"Wait until it ends, or stop it with `longhaul stop {name}`."
        )
        self.name = name
        self.owner = owner


class StaleOwnerError(LonghaulError):
    """Another process has taken this search over; this one may not write any more."""

    def __init__(self, name: str, fence: int, owner: object = None) -> None:
        by = f" by {owner}" if owner is not None else ""
        super().__init__(
            f"search {name!r} was taken over{by}; this process (owner number {fence}) "
            "can no longer write to it. Nothing that was acknowledged is lost."
        )
        self.name = name
        self.fence = fence
