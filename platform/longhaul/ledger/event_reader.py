"""Reading the events of a search, at any time, beside a writer or after one died."""

import logging
import time
from collections.abc import Iterator

from longhaul.ledger.events import Event, Line, decode
from longhaul.ledger.lease import fences, read_cuts, read_lease
from longhaul.ledger.segments import is_damaged, read_segments, select
from longhaul.ledger.storage import Storage

_PENDING_S = 0.5
_log = logging.getLogger("longhaul.ledger")


class EventReader:
    """Reads the events of one search; warns once of each thing that is missing.

    Args:
        storage: the search's storage.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._reported: set[str] = set()
        self._waited_for: int | None = None
        self._cuts: dict[int, int] = {}

    def read(self, after: int = -1) -> Iterator[Event]:
        """The events beyond one, in order."""
        contents = read_segments(self._storage, after)
        # Leases after events: whoever wrote one of these events out of turn has a newer lease by
        # now, and it is seen.
        self._await_newest()
        self._cuts = read_cuts(self._storage, self._cuts)
        lines = select(contents, self._cuts, after)
        for segment, held in contents.items():
            if is_damaged(segment, held):
                self._warn(
                    f"{self._storage.uri}/{segment.path} is damaged; what is readable of it is used"
                )
        self._warn_of_gaps(lines, after)
        return map(_decode, lines)

    def _await_newest(self) -> None:
        """Give a new owner the moment it needs to say which events it found."""
        known = fences(self._storage)
        if not known or known[-1] in self._cuts or known[-1] == self._waited_for:
            return
        deadline = time.monotonic() + _PENDING_S
        while time.monotonic() < deadline:
            if read_lease(self._storage, known[-1]).follows is not None:
                return
            time.sleep(0.01)
        self._waited_for = known[-1]  # it died on the way; once is enough

    def _warn_of_gaps(self, lines: list[Line], after: int) -> None:
        expected = after + 1
        for line in lines:
            if line.sequence != expected:
                self._warn(
                    f"{self._storage.uri}: events {expected} to {line.sequence - 1} are missing"
                )
            expected = line.sequence + 1

    def _warn(self, message: str) -> None:
        if message not in self._reported:
            self._reported.add(message)
            _log.warning("%s", message)


def _decode(line: Line) -> Event:
    return decode(line.raw)
