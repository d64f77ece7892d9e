"""One search of the plain stack in a folder of its own, through the lives of several drivers."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROGRAM = Path(__file__).with_name("plain_breakable.py")
SETTINGS: dict[str, Any] = {
    "trials": 6,
    "steps": 16,
    "wait_s": 0.4,
    "parallel": 3,
    "nan": False,
    "restore": False,
    "max_failures": 0,
    "address": "local",
}
PLANNED = SETTINGS["trials"] * SETTINGS["steps"]
"""Reports of an undisturbed search."""
PATIENCE_S = 300.0
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # A head asks for a token where this user has one, which nodes that join do not show.
    "RAY_AUTH_MODE": "disabled",
}


@dataclass
class Plain:
    """One search in a folder of its own, through several drivers.

    Attributes:
        folder: of everything that it writes.
        settings: for plain_breakable.py.
        prefix: words before each driver's command, to run it elsewhere.
        process: the driver that was started last.
    """

    folder: Path
    settings: dict[str, Any]
    prefix: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None

    def start(self, environment: dict[str, str] | None = None, **changes: Any) -> None:
        """A driver, with other variables and settings than usual."""
        (self.folder / "said.json").unlink(missing_ok=True)
        file = self.folder / f"settings-{time.time_ns()}.json"
        file.write_text(json.dumps(self.settings | changes), "utf-8")
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self.prefix, sys.executable, "-P", str(PROGRAM), str(file)],
                cwd=self.folder,
                env=os.environ | QUIET | (environment or {}),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def lines(self) -> list[dict[str, Any]]:
        """What the trials noted of each report that was taken from them."""
        file = self.folder / "truth.jsonl"
        lines = file.read_text("utf-8").split("\n")[:-1] if file.exists() else []
        return [json.loads(line) for line in lines]

    def truth(self) -> list[tuple[str, int]]:
        """The reports that were taken from trials: trial and step."""
        return [(one["trial"], one["step"]) for one in self.lines()]

    def await_reports(self, count: int) -> None:
        """Until so many more were taken.

        Raises:
            TimeoutError: they were not; with the end of what the driver said.
        """
        wanted = len(self.truth()) + count
        in_time(lambda: len(self.truth()) >= wanted or not self.running(), PATIENCE_S)
        if len(self.truth()) < wanted:
            raise TimeoutError((self.folder / "log").read_text("utf-8")[-3000:])

    def running(self) -> bool:
        """Whether the driver lives."""
        return self.process is not None and self.process.poll() is None

    def send(self, number: int) -> None:
        """A signal to the driver alone."""
        if self.process is not None:
            self.process.send_signal(number)

    def end(self, patience_s: float = PATIENCE_S) -> str:
        """How the driver ended, in words; one that does not is killed."""
        if self.process is None:
            return "was not started"
        try:
            status = self.process.wait(patience_s)
            return f"exit status {status}"
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return f"still running after {patience_s:.0f} s"
        finally:
            # Until nothing that came from it trains any more.
            if not in_time(lambda: not _in_folder(self.folder), 20):
                for pid in _in_folder(self.folder):
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)

    def kill(self) -> None:
        """SIGKILL of the driver."""
        self.send(signal.SIGKILL)
        self.end()

    def recorded(self) -> set[tuple[str, int]]:
        """The reports that Ray has on disk."""
        found = set()
        for file in Path(self.settings["storage"]).rglob("result.json"):
            for line in file.read_text("utf-8").splitlines():
                with suppress(ValueError):
                    one = json.loads(line)
                    found.add((one["trial_id"], one["training_iteration"]))
        return found

    def missing(self) -> str:
        """How many of the reports that were taken are not on disk."""
        truth = set(self.truth())
        return f"{len(truth - self.recorded())} of {len(truth)} reports not in Ray's records"

    def again(self) -> int:
        """How many reports were made more than once."""
        return sum(count - 1 for count in Counter(self.truth()).values())

    def tried_twice(self) -> int:
        """How many trials have a configuration that another one has had."""
        tried = {line["trial"]: line["x"] for line in self.lines()}
        return sum(count - 1 for count in Counter(tried.values()).values())

    def states(self) -> Counter[str]:
        """Ray's states of the trials, where the driver lived to tell."""
        file = self.folder / "said.json"
        return Counter(json.loads(file.read_text("utf-8"))["states"] if file.exists() else [])

    def given_up(self) -> str:
        """How many trials Ray gave up."""
        states = self.states()
        if not states:
            return "the whole search ended"
        return f"{states['ERROR']} of {states.total()} trials given up"

    def tracked(self) -> str:
        """What MLflow shows."""
        database = sqlite3.connect(self.folder / "mlflow.db")
        with database:
            runs, running = database.execute(
                "select count(*), coalesce(sum(status = 'RUNNING'), 0) from runs"
            ).fetchone()
        database.close()
        return f"MLflow: {runs} runs, {running} left RUNNING"


def in_time(done: Callable[[], bool], patience_s: float) -> bool:
    """Waits; whether it came true."""
    deadline = time.monotonic() + patience_s
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def _in_folder(folder: Path) -> list[int]:
    found = []
    for name in filter(str.isdecimal, os.listdir("/proc")):
        with suppress(OSError):
            if Path(os.readlink(f"/proc/{name}/cwd")).is_relative_to(folder):
                words = Path(f"/proc/{name}/cmdline").read_bytes()
                if b"ray::" in words or b"default_worker" in words:
                    found.append(int(name))
    return found


@contextmanager
def plain(**changes: Any) -> Iterator[Plain]:
    """A folder for one search; everything that came from it ends with it."""
    with tempfile.TemporaryDirectory(prefix="plain-faults-", ignore_cleanup_errors=True) as name:
        own = {"storage": f"{name}/ray-results", "tracking_uri": f"sqlite:///{name}/mlflow.db"}
        one = Plain(Path(name), SETTINGS | own | changes)
        try:
            yield one
        finally:
            one.kill()


@contextmanager
def begun(reports: int, **changes: Any) -> Iterator[Plain]:
    """Such a search whose driver was started, and which has taken so many reports."""
    with plain(**changes) as one:
        one.start()
        one.await_reports(reports)
        yield one
