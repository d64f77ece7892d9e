"""The driver's handle on the background writer."""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO

from longhaul.tracking.connection import check_address
from longhaul.tracking.lag import Lag

LOG_FILE = "tracking.log"
LOG_LIMIT = 1_000_000
RESTART_EVERY_S = 30.0


class TrackingProcess:
    """A process that keeps MLflow up to date with the ledger of one search.

    It never holds up the search: nothing here waits for the tracking server except `drain`, which
    waits as long as it is told. When the driver dies, however it dies, the process notices,
    delivers what is there, marks the trials as interrupted and ends.

    Args:
        storage_uri: where the search is kept.
        name: the search.
        tracking_uri: MLflow's server or database.

    Raises:
        RequestError: there is no such search, or the tracking address can be neither.
    """

    def __init__(self, storage_uri: str, name: str, tracking_uri: str) -> None:
        from longhaul.ledger import Ledger

        check_address(tracking_uri)
        self.tracking_uri = tracking_uri
        self._storage_uri = storage_uri
        self._ledger = Ledger.open(storage_uri, name)
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0

    @property
    def log_path(self) -> Path:
        """The file with the process's messages."""
        path = self._ledger.storage.local_path(LOG_FILE)
        return path or Path(tempfile.gettempdir()) / f"longhaul-{self._ledger.name}-{LOG_FILE}"

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Starts the process, and returns at once; nothing happens if it runs already."""
        if self.running:
            return
        words = [sys.executable, "-P", "-m", "longhaul.tracking", "--with-driver"]
        words += ["--storage", self._storage_uri, "--name", self._ledger.name]
        # By the environment, because everybody can read a process's arguments, and an address may
        # hold a password.
        environment = os.environ | {"MLFLOW_TRACKING_URI": self.tracking_uri}
        with _open_log(self.log_path) as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own module
                words,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=environment,
                # Ctrl-C on the terminal is for the driver, which then drains this process.
                start_new_session=True,
            )
        self._started_at = time.monotonic()

    def keep_alive(self) -> None:
        """Starts the process again if it died; to be called now and then while searching."""
        if not self.running and time.monotonic() - self._started_at >= RESTART_EVERY_S:
            self.start()

    def drain(self, timeout_s: float) -> Lag:
        """Says that the search has ended, and waits until all of it is in MLflow.

        Args:
            timeout_s: how long to wait at most, seconds.

        Returns:
            What is not in MLflow by then; `longhaul sync` delivers it later.
        """
        process = self._process
        if process is not None and process.stdin is not None:
            with contextlib.suppress(OSError, ValueError):
                process.stdin.write(f"drain {timeout_s}\n".encode())
                process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout_s)
        return self.lag()

    def stop(self) -> None:
        """Ends the process now; what it did not deliver can be delivered later."""
        process = self._process
        if process is None:
            return
        with contextlib.suppress(OSError):
            process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()
        self._process = None

    def lag(self) -> Lag:
        """How far MLflow is behind, as the process last said."""
        lag = Lag.read(self._ledger.storage)
        if lag is not None:
            return lag
        events = len(self._ledger.events())
        return Lag.unknown(events, f"nothing delivered yet, see {self.log_path}")


def _open_log(path: Path) -> IO[bytes]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size > LOG_LIMIT:
            path.unlink()
    # For appending: the process may cut the file while it writes to it.
    return path.open("ab")
