"""The one process that may add events to a search."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, NamedTuple, Self

from longhaul.ledger.errors import StaleOwnerError, StorageError
from longhaul.ledger.events import Event, EventKind, Line, decode, encode
from longhaul.ledger.lease import (
    HEARTBEAT_S,
    Heartbeat,
    Lease,
    check_fence,
    read_cuts,
    release_lease,
    write_lease,
)
from longhaul.ledger.segments import SegmentWriter, last_used, read_segments, select
from longhaul.ledger.storage import Storage


class Draft(NamedTuple):
    """An event before it has a place in the search."""

    kind: EventKind | str
    trial: int | None = None
    data: Mapping[str, Any] = {}


class LedgerWriter:
    """Appends events under a lease; a context manager that gives the lease up at its end.

    Made by `Ledger.acquire`. May be used from several threads.

    Args:
        storage: the search's storage.
        name: the search.
        lease: the lease just taken, whose `follows` is found out here.
        heartbeat_s: seconds between two heartbeats.
    """

    def __init__(
        self, storage: Storage, name: str, lease: Lease, heartbeat_s: float = HEARTBEAT_S
    ) -> None:
        self.name = name
        self.fence = lease.fence
        self._storage = storage
        self._lock = threading.Lock()
        self._closed = False
        self._ready = False
        self._lease = lease
        self._heartbeat = Heartbeat(storage, lease.fence, heartbeat_s)
        try:
            # Only now, with the lease taken, can earlier owners acknowledge nothing more.
            contents = read_segments(storage)
            cuts = read_cuts(storage)
            lines = select(contents, cuts)
            follows = last_used(contents, cuts)
            self._lease = replace(lease, follows=follows)
            check_fence(storage, name, self.fence)
            write_lease(storage, self._lease)
            self._segments = SegmentWriter(storage, self.fence, contents, lines)
        except BaseException:
            self.close()
            raise
        self._next = follows + 1
        self._ready = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def lease(self) -> Lease:
        """The lease under which this writes."""
        return self._lease

    def append(self, kind: EventKind | str, trial: int | None = None, **data: Any) -> Event:
        """Add one event. When this returns it is durable, and every later owner will find it.

        Args:
            kind: what happened.
            trial: the trial's number; None for an event of the search.
            data: what `EventKind` lists; anything that JSON can hold, NaN and infinities too.

        Returns:
            The event exactly as readers get it.

        Raises:
            StaleOwnerError: the search has a newer owner. The event does not count.
            StorageError: it could not be written. It may be appended again later.
        """
        return self.append_all([Draft(kind, trial, data)])[0]

    def append_all(self, drafts: Sequence[Draft]) -> list[Event]:
        """Add several events at once, for little more than the price of one.

        Readers find all of them or none. For the rest see `append`.
        """
        if not drafts:
            return []
        with self._lock:
            if self._closed:
                raise RuntimeError(f"the writer of search {self.name!r} is closed")
            check_fence(self._storage, self.name, self.fence)
            now = datetime.now(UTC)
            encoded = [
                encode(Event(number, self.fence, now, EventKind(kind), trial, dict(data)))
                for number, (kind, trial, data) in enumerate(drafts, start=self._next)
            ]
            self._segments.append(
                [Line(number, self.fence, raw) for number, raw in enumerate(encoded, self._next)]
            )
            # A newer owner that looked before the write became visible will not count the event.
            check_fence(self._storage, self.name, self.fence)
            self._next += len(encoded)
            self._segments.merge_if_due()
        return [decode(raw) for raw in encoded]

    def check(self) -> None:
        """Raise `StaleOwnerError` if the search has a newer owner."""
        check_fence(self._storage, self.name, self.fence)

    def close(self) -> None:
        """Give the search up, so that the next owner need not wait."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            if self._ready and not self._is_stale():
                self._segments.merge_finally()
        self._heartbeat.stop()
        release_lease(self._storage, self._lease)

    def _is_stale(self) -> bool:
        try:
            self.check()
        except (StaleOwnerError, StorageError):
            return True
        return False
