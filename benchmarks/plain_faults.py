"""What plain Ray Tune with Optuna and MLflow keeps when things break.

    .venv/bin/python benchmarks/plain_faults.py [ROW ...]

The column beside Longhaul's in faults.md: the same faults, done to a search as the documentations
of the three show it (plain_breakable.py). Writes plain_faults.json to benchmarks/results/, row
by row; rows that are not named keep what was measured before. Linux only, as root for the disk.
"""

import json
import os
import shutil
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
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
RESULT = FOLDER / "results" / "plain_faults.json"
PROGRAM = FOLDER / "plain_breakable.py"
SETTINGS = {"trials": 6, "steps": 16, "wait_s": 0.4, "parallel": 3, "nan": False, "restore": False}
PATIENCE_S = 300.0
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "MLFLOW_DISABLE_TELEMETRY": "true"}


@dataclass
class Plain:
    """One search in a folder of its own, through several drivers."""

    folder: Path
    settings: dict[str, Any]
    process: subprocess.Popen[bytes] | None = None

    def start(self, **changes: Any) -> None:
        """A driver; `zone` is its time zone."""
        zone = {"TZ": changes.pop("zone")} if "zone" in changes else {}
        (self.folder / "said.json").unlink(missing_ok=True)
        file = self.folder / "settings.json"
        file.write_text(json.dumps(self.settings | changes), "utf-8")
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-P", str(PROGRAM), str(file)],
                cwd=self.folder,
                env=os.environ | QUIET | zone,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def truth(self) -> list[tuple[str, int]]:
        """The reports that were taken from trials: trial and step."""
        return [(one["trial"], one["step"]) for one in self._lines()]

    def _lines(self) -> list[dict[str, Any]]:
        file = self.folder / "truth.jsonl"
        lines = file.read_text("utf-8").split("\n")[:-1] if file.exists() else []
        return [json.loads(line) for line in lines]

    def pid(self) -> int:
        """Of the trial that reported last."""
        return int(self._lines()[-1]["pid"])

    def await_reports(self, count: int) -> None:
        """Until so many more were taken."""
        wanted, deadline = len(self.truth()) + count, time.monotonic() + PATIENCE_S
        while len(self.truth()) < wanted and self._running():
            if time.monotonic() > deadline:
                raise TimeoutError((self.folder / "log").read_text("utf-8")[-3000:])
            time.sleep(0.1)

    def _running(self) -> bool:
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
            self._await_processes()

    def _await_processes(self) -> None:
        """Until nothing that came from it trains any more; after a while it is killed."""
        deadline = time.monotonic() + 20
        while pids := _in_folder(self.folder):
            if time.monotonic() > deadline:
                for pid in pids:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            time.sleep(0.2)

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

    def states(self) -> Counter[str]:
        """Ray's states of the trials, where the driver lived to tell."""
        file = self.folder / "said.json"
        return Counter(json.loads(file.read_text("utf-8"))["states"] if file.exists() else [])

    def tracked(self) -> str:
        """What MLflow shows."""
        database = sqlite3.connect(self.folder / "mlflow.db")
        with database:
            runs, running = database.execute(
                "select count(*), coalesce(sum(status = 'RUNNING'), 0) from runs"
            ).fetchone()
        database.close()
        return f"MLflow: {runs} runs, {running} left RUNNING"


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
    with tempfile.TemporaryDirectory(prefix="plain-faults-") as name:
        folder = Path(name)
        own = {"storage": f"{name}/ray-results", "tracking_uri": f"sqlite:///{name}/mlflow.db"}
        one = Plain(folder, SETTINGS | own | changes)
        try:
            yield one
        finally:
            one.kill()


def driver() -> str:
    """SIGKILL of the driver, then `Tuner.restore`."""
    with plain() as one:
        one.start()
        one.await_reports(24)
        one.kill()
        missing = one.missing()
        one.start(restore=True)
        end = one.end()
        return (
            f"{missing}; after `Tuner.restore` ({end}) {one.again()} reports made twice; "
            f"{one.tracked()} for {SETTINGS['trials']} trials"
        )


def trial() -> str:
    """SIGKILL of a trial's process, with Tune's defaults."""
    with plain() as one:
        one.start()
        one.await_reports(12)
        os.kill(one.pid(), signal.SIGKILL)
        end = one.end()
        lost = one.states()["ERROR"]
        return f"{lost} of {SETTINGS['trials']} trials given up (`max_failures` is 0); {end}"


def signals() -> str:
    """SIGTERM to the driver."""
    with plain() as one:
        one.start()
        one.await_reports(24)
        one.send(signal.SIGTERM)
        return f"SIGTERM: {one.end()}, {one.missing()}"


def number() -> str:
    """A trial that reports NaN, beside healthy ones, under ASHA."""
    with plain(nan=True) as one:
        one.start()
        end = one.end()
        steps: Counter[float] = Counter()
        for line in one._lines():
            steps[line["x"]] += 1
        sick = max(count for x, count in steps.items() if x > 0.9)
        stopped = sum(count < SETTINGS["steps"] for x, count in steps.items() if x <= 0.9)
        return (
            f"ASHA ran the trial of NaN for {sick} of {SETTINGS['steps']} steps and stopped "
            f"{stopped} healthy ones; {end}"
        )


def hang() -> str:
    """A trial that hangs."""
    with plain() as one:
        one.start()
        one.await_reports(6)
        (one.folder / "hang").touch()
        end = one.end(90)
        return f"nothing notices: {end}"


def torn_spec() -> str:
    """The newest state file cut in the middle."""
    with plain() as one:
        one.start()
        one.await_reports(30)
        one.kill()
        taken = len(set(one.truth()))
        newest = max(Path(one.settings["storage"]).rglob("experiment_state-*.json"))
        newest.write_bytes(newest.read_bytes()[: newest.stat().st_size // 2])
        one.start(restore=True)
        end = one.end(120)
        lost = 0 if one.states() else taken
        return f"`Tuner.restore`: {end}; {lost} of {taken} reports out of reach"


def twice() -> str:
    """The same search started again, after its driver was killed."""
    with plain() as one:
        one.start()
        one.await_reports(30)
        one.kill()
        old = len(set(one.truth()))
        one.start()
        end = one.end()
        tried = {line["trial"]: line["x"] for line in one._lines()}
        double = sum(count - 1 for count in Counter(tried.values()).values())
        return (
            f"begun anew without a word ({end}): {double} configurations tried twice, "
            f"{old} earlier reports in no result"
        )


def disk() -> str:
    """The disk of the results fills up."""
    with plain() as one:
        storage = one.folder / "small"
        storage.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(storage)], check=True)
        try:
            one.settings["storage"] = str(storage)
            one.start()
            one.await_reports(12)
            ballast = storage / "ballast"
            with suppress(OSError), ballast.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))
            end = one.end(120)
            ballast.unlink()
            lost = one.missing()
            one.start(restore=True)
            again = one.end(120)
            done = one.states()["TERMINATED"]
            return (
                f"{end}, {lost}; with space again `Tuner.restore`: {again}, "
                f"{done} of {SETTINGS['trials']} trials complete"
            )
        finally:
            one.kill()
            subprocess.run(["umount", "--lazy", str(storage)], check=True)


def mlflow_dead() -> str:
    """SIGKILL of the MLflow server, for good."""
    with plain() as one:
        port = 20000 + os.getpid() % 20000
        uri = f"http://127.0.0.1:{port}"
        words = ["-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
        words += ["--workers", "1", "--backend-store-uri", one.settings["tracking_uri"]]
        with (one.folder / "server.log").open("wb") as log:
            server = subprocess.Popen(
                [sys.executable, *words],
                cwd=one.folder,
                env=os.environ | QUIET | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            one.settings["tracking_uri"] = uri
            time.sleep(25)
            one.start()
            one.await_reports(10)
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
            time.sleep(3)
            before = len(one.truth())
            time.sleep(60)
            after = len(one.truth())
            state = "runs" if one._running() else "has ended"
            return f"{after - before} reports of all trials in the next 60 s; the search {state}"
        finally:
            with suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)


def clock() -> str:
    """Three drivers in two time zones, each killed."""
    with plain() as one:
        one.start(zone="Asia/Tokyo")
        one.await_reports(40)
        one.kill()
        for reports in (24, None):
            one.start(restore=True, zone="UTC")
            if reports:
                one.await_reports(reports)
                one.kill()
        end = one.end()
        trials = len({name for name, _ in one.truth()})
        return (
            f"{trials} trials run for {SETTINGS['trials']} planned, {one.again()} reports made "
            f"twice; {end}"
        )


ROWS: dict[str, Callable[[], str]] = {
    "driver": driver,
    "trial": trial,
    "signals": signals,
    "number": number,
    "hang": hang,
    "torn-spec": torn_spec,
    "twice": twice,
    "disk": disk,
    "mlflow-dead": mlflow_dead,
    "clock": clock,
}


def main() -> None:
    """Measures, and adds to the file."""
    wanted = sys.argv[1:] or list(ROWS)
    for row in wanted:
        try:
            told = ROWS[row]()
        except (OSError, subprocess.CalledProcessError, TimeoutError) as error:
            told = f"not run: {type(error).__name__}"
            print(error, file=sys.stderr)
        print(f"{row}: {told}", flush=True)
        kept = json.loads(RESULT.read_text("utf-8")) if RESULT.exists() else {"rows": {}}
        kept["rows"][row] = told
        kept["title"] = (
            "Ray Tune with OptunaSearch and MLflowLoggerCallback, a function that saves a "
            f"checkpoint with every report, {SETTINGS['trials']} trials of {SETTINGS['steps']} "
            f"reports, {SETTINGS['parallel']} at once; once each, "
            f"{datetime.now(UTC):%Y-%m-%d}, by benchmarks/plain_faults.py"
        )
        RESULT.write_text(json.dumps(kept, indent=1) + "\n", "utf-8")
    shutil.rmtree(FOLDER / "__pycache__", ignore_errors=True)


if __name__ == "__main__":
    main()
