"""The background writer as a process: ``python -m longhaul.tracking --storage URI --name NAME``."""

import argparse
import contextlib
import logging
import os
import shutil
import signal
import stat
import sys
import tempfile
import threading
import time
from types import FrameType
from typing import TYPE_CHECKING

from longhaul.tracking.connection import connect, prepare_environment
from longhaul.tracking.lag import Lag
from longhaul.tracking.lock import TrackingBusyError, tracking_lock

if TYPE_CHECKING:
    from longhaul.ledger import Storage

NICENESS = 5
LINGER_S = 30.0
"""How long to go on trying when the driver vanished without a word."""
LOG_LIMIT = 1_000_000
"""Bytes after which the log file is begun anew."""
LAG_EVERY_S = 2.0


def main(arguments: list[str] | None = None) -> int:
    """Follows the ledger of one search; 0 when all of it is in MLflow."""
    parser = argparse.ArgumentParser(prog="python -m longhaul.tracking", description=__doc__)
    parser.add_argument("--storage", required=True, metavar="URI")
    parser.add_argument("--name", required=True)
    parser.add_argument("--tracking-uri", default=os.environ.get("MLFLOW_TRACKING_URI"))
    parser.add_argument("--with-driver", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if not options.tracking_uri:
        parser.error("--tracking-uri or MLFLOW_TRACKING_URI is needed")
    logging.basicConfig(
        level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr
    )
    logging.Formatter.converter = time.gmtime
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, NICENESS)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    prepare_environment()
    # One place for everything that is laid out before it is sent, so that `_leave` can remove it.
    tempfile.tempdir = tempfile.mkdtemp(prefix="longhaul-tracking-")
    try:
        return _follow(options.storage, options.name, options.tracking_uri, options.with_driver)
    finally:
        _tidy()


def _follow(storage_uri: str, name: str, tracking_uri: str, with_driver: bool) -> int:
    from longhaul.ledger import Ledger
    from longhaul.tracking.follow import Ending, follow
    from longhaul.tracking.replay import Replay

    ledger = Ledger.open(storage_uri, name)
    watch = _DriverWatch() if with_driver else None
    ending = Ending(watch.ended, lambda: watch.deadline_s) if watch else None
    written = _LagFile(ledger.storage)
    while True:
        try:
            with tracking_lock(ledger):
                replay = Replay(ledger, lambda: connect(tracking_uri), tracking_uri)
                lag = follow(ledger, replay, ending, written)
                written.write(lag)
                return 0 if lag.delivered else 1
        except TrackingBusyError:
            # The writer of an earlier driver is about to end; it knows nothing of new events.
            if watch is None or watch.ended.wait(0.5):
                raise


class _DriverWatch:
    """Learns from standard input that the driver has ended, however it ended.

    The driver may say ``drain SECONDS`` first: how long to go on trying after that.
    """

    def __init__(self) -> None:
        self.ended = threading.Event()
        self.deadline_s = LINGER_S
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in sys.stdin:
            word, _, seconds = line.strip().partition(" ")
            if word == "drain":
                self.deadline_s = float(seconds)
        self.ended.set()


class _LagFile:
    """Writes the lag where others find it: when it changes, and not too often."""

    def __init__(self, search: "Storage") -> None:
        self._search = search
        self._last: tuple[object, ...] = ()
        self._at = 0.0

    def __call__(self, lag: Lag) -> None:
        _limit_log()
        said = (lag.events, lag.trials, lag.error, lag.parent_run_id, len(lag.undeliverable))
        now = time.monotonic()
        if said != self._last and (now - self._at >= LAG_EVERY_S or lag.delivered):
            self.write(lag)
            self._last, self._at = said, now

    def write(self, lag: Lag) -> None:
        lag.write(self._search)


def _limit_log() -> None:
    with contextlib.suppress(OSError):
        status = os.fstat(2)
        if stat.S_ISREG(status.st_mode) and status.st_size > LOG_LIMIT:
            os.ftruncate(2, 0)


def _leave(number: int, _: FrameType | None) -> None:
    # At once: everything here can be cut off at any point, and a hanging request must not delay it.
    _tidy()
    os._exit(128 + number)


def _tidy() -> None:
    folder, tempfile.tempdir = tempfile.tempdir, None
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
