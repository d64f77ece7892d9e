"""One writer per search: a lock on a file in the search's folder."""

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING

from longhaul.errors import LonghaulError

if TYPE_CHECKING:
    from longhaul.ledger import Ledger

FILE = "tracking.lock"


class TrackingBusyError(LonghaulError):
    """Another process is delivering the same search to MLflow."""


@contextlib.contextmanager
def tracking_lock(ledger: "Ledger") -> Iterator[None]:
    """Holds the right to deliver a search.

    Two writers at once would do no harm to what is there, but could each create a run for the same
    trial. The lock ends with the process, however it ends.

    Raises:
        TrackingBusyError: another process holds it.
    """
    path = ledger.storage.local_path(FILE)
    if path is None:  # an object store has no locks; a driver's lease keeps others away there
        yield
        return
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise TrackingBusyError(
                f"search {ledger.name!r} is being delivered to MLflow already "
                f"({file.read().strip() or 'by another process'}); "
                f"`longhaul status {ledger.name}` shows how far it is"
            ) from None
        file.seek(0)
        file.truncate()
        file.write(f"by process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        yield
