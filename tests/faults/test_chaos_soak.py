"""Faults at random, one after the other, on a search of many short trials.

`LONGHAUL_SOAK_MINUTES` (30) says for how long things break; the trials are in proportion, 2,000 in
half an hour, 64 at a time. `LONGHAUL_SOAK_SEED` (0) says in which order. `LONGHAUL_SOAK_FOLDER`
keeps everything; a soak that is through there is looked at again, without further faults.
"""

import importlib.util
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter, defaultdict
from contextlib import closing, suppress
from pathlib import Path

import pytest

MINUTES = float(os.environ.get("LONGHAUL_SOAK_MINUTES", "30"))
SEED = int(os.environ.get("LONGHAUL_SOAK_SEED", "0"))
FOLDER = os.environ.get("LONGHAUL_SOAK_FOLDER")
TRIALS, PARALLEL = max(40, round(2000 * MINUTES / 30)), 64
PROGRAM = Path(__file__).with_name("simulated_search.py")
PAUSE_S = (1.0, 12.0)
"""Between two faults."""
REPORTS = 1.5 * TRIALS
"""That these trials make altogether, about."""
AT_WORK = 1 / 3
"""Share of the time that faults leave, about."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60 * MINUTES * 4 + 1800)]


@pytest.fixture(scope="module")
def simulated():
    spec = importlib.util.spec_from_file_location("simulated_search", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Soak:
    """The search, its drivers, its server, and what can be done to them."""

    def __init__(self, folder, server):
        self.storage = folder / "runs"
        self.truth = folder / "truth.jsonl"
        self.note = folder / "note"
        self._server = server
        self.said = folder / "driver.log"
        self._log = self.said.open("ab")
        self.driver = None
        self.done = Counter()
        self.memory = {"driver": [0, 0, 0], "writer": [0, 0, 0]}
        self._began = time.monotonic()
        self._known = 0

    def minutes(self):
        """Since it began."""
        return (time.monotonic() - self._began) / 60

    def reports(self):
        """That were acknowledged so far."""
        return self.truth.read_bytes().count(b"\n") if self.truth.exists() else 0

    def begin(self):
        """A driver, whose trials report so often that they last as long as the faults."""
        self._known = self.reports()
        left_s = 60 * max(0.0, MINUTES - self.minutes()) * AT_WORK
        reports_per_s = max(1.0, REPORTS - self._known) / left_s if left_s > 5 else 1e6
        words = [sys.executable, "-P", str(PROGRAM), str(self.storage), self._server.uri]
        self.driver = subprocess.Popen(
            [*words, str(TRIALS), str(PARALLEL), str(reports_per_s)],
            stdout=self._log,
            stderr=self._log,
            env=os.environ | {"MLFLOW_HTTP_REQUEST_TIMEOUT": "5"},
            start_new_session=True,
        )

    def running(self):
        return self.driver.poll() is None

    def await_work(self):
        """Until the driver has done something, or has ended."""
        while self.running() and self.reports() == self._known:
            time.sleep(0.2)

    def writer(self):
        """The process that writes to MLflow."""
        return next(
            (pid for pid in children(self.driver.pid) if "longhaul.tracking" in title(pid)), None
        )

    def look(self):
        """Notes how much memory they take at most in each third of the soak, in MiB."""
        third = min(2, int(3 * self.minutes() / MINUTES))
        for name, pid in (("driver", self.driver.pid), ("writer", self.writer())):
            if pid is not None:
                self.memory[name][third] = max(self.memory[name][third], resident_mib(pid))

    def kill_driver(self):
        self.driver.kill()
        self.driver.wait()

    def overtake_driver(self):
        """It stands still, another one takes over, and then it goes on."""
        stopped, owners = self.driver, self.owners()
        stopped.send_signal(signal.SIGSTOP)
        self.begin()
        while self.owners() == owners and self.running():
            time.sleep(0.1)
        stopped.send_signal(signal.SIGCONT)
        if self.owners() == owners:  # refused, which is right as well
            self.driver = stopped
        else:
            assert stopped.wait(120) in (0, 1)

    def owners(self):
        """How many drivers have owned the search so far."""
        return len(list(self.storage.glob("soak/owner/*.json")))

    def kill_writer(self):
        with suppress(ProcessLookupError):
            if (pid := self.writer()) is not None:
                os.kill(pid, signal.SIGKILL)

    def stop_writer(self):
        with suppress(ProcessLookupError):
            if (pid := self.writer()) is not None:
                os.kill(pid, signal.SIGSTOP)
                time.sleep(5)
                os.kill(pid, signal.SIGCONT)

    def restart_server(self):
        self._server.stop()
        time.sleep(3)
        self._server.start()

    def tear_checkpoint(self):
        """The newest one of some trial, under a driver that has died."""
        self.kill_driver()
        found = sorted(self.storage.glob("soak/trials/*/checkpoint/*/step"))
        if found:
            max(found, key=lambda path: path.stat().st_mtime).write_bytes(b"")

    def close(self):
        if self.driver is not None and self.running():
            for pid in [*children(self.driver.pid), self.driver.pid]:
                os.kill(pid, signal.SIGKILL)
            self.driver.wait()
        self._log.close()


FAULTS = ["kill_driver", "overtake_driver", "kill_writer", "stop_writer", "restart_server"]
FAULTS += ["tear_checkpoint", "kill_driver"]


def children(pid):
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def title(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def resident_mib(pid):
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") // 2**20


@pytest.fixture
def tmp_path(tmp_path):
    """Where the server lies, too."""
    folder = Path(FOLDER) if FOLDER else tmp_path
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def soak(tmp_path, mlflow_server):
    soak = Soak(tmp_path, mlflow_server)
    yield soak
    soak.close()


@pytest.mark.fault("chaos", "random faults, one every few seconds, on thousands of trials")
def test_a_search_survives_faults_at_random(soak, simulated, record_property):
    if not soak.note.exists():
        go_through(soak)
    record_property("note", soak.note.read_text(encoding="utf-8"))
    check(soak, simulated, record_property)


def go_through(soak):
    chance = random.Random(SEED)
    soak.begin()
    while soak.minutes() < MINUTES:
        if chance.random() < 0.8:  # the others may hit a driver that begins
            soak.await_work()
        until = time.monotonic() + chance.uniform(*PAUSE_S)
        while time.monotonic() < until:
            soak.look()
            time.sleep(0.5)
        if not soak.running():
            if soak.driver.returncode == 0:
                break
            soak.begin()
            continue
        fault = chance.choice(FAULTS)
        soak.done[fault] += 1
        getattr(soak, fault)()
    while soak.driver.wait() != 0:
        soak.begin()
    faults = ", ".join(f"{count} {name}" for name, count in sorted(soak.done.items()))
    memory = ", ".join(
        f"{name} {' / '.join(map(str, largest))}" for name, largest in soak.memory.items()
    )
    soak.note.write_text(
        f"{TRIALS:,} trials, {PARALLEL} at a time, {soak.minutes():.0f} minutes, {faults}; "
        f"largest memory in each third, MiB: {memory}",
        encoding="utf-8",
    )


def check(soak, simulated, record_property):
    from longhaul.ledger import Ledger
    from longhaul.search.replay import replay
    from longhaul.spec.search_spec import SearchSpec

    ledger = Ledger.open(soak.storage, "soak")
    record, events = ledger.record(), ledger.events()
    assert "Traceback" not in soak.said.read_text(encoding="utf-8")
    assert record.state == "completed"
    assert not ledger.is_owned()
    assert sorted(record.trials) == list(range(TRIALS))
    told = Counter((e.trial, e.data["step"]) for e in events if e.kind == "reported")
    told.update((e.trial, e.data["step"]) for e in events if e.kind == "diverged")
    lines = soak.truth.read_text().split("\n")[:-1]
    truth = {(one["trial"], one["step"]) for one in map(simulated.json.loads, lines)}
    lost = len(truth - told.keys())
    doubled = sum(count - 1 for count in told.values())
    for name, count in (("reports", len(truth)), ("lost", lost), ("doubled", doubled)):
        record_property(name, count)
    assert (lost, doubled) == (0, 0)
    kinds = Counter((event.trial, event.kind) for event in events)
    for number, trial in record.trials.items():
        ends = ("finished", "stopped", "diverged", "failed")
        assert kinds[number, "suggested"] == 1
        assert sum(kinds[number, end] for end in ends) == 1
        rows = ledger.trial(number).history().to_pylist()
        values = {row["step"]: row["valid/loss"] for row in rows}
        assert list(values) == list(range(1, len(values) + 1))
        assert (trial.state == "diverged") == (simulated.diverges(number) and len(values) == 2)
        for step, value in values.items():
            if trial.state != "diverged" or step == 1:
                assert value == simulated.loss(trial.config, step)
    spec = SearchSpec.from_text(ledger.spec_text(), "spec.yaml", name="soak")
    assert replay(spec, events).differences == ()

    deliver(ledger, soak._server.uri)
    shown = tracked(soak._server.database)
    assert len(shown) == TRIALS + 1
    for name, (status, steps) in shown.items():
        if name != "soak":
            rows = ledger.trial(int(name.split()[0])).history().to_pylist()
            assert steps == [row["step"] for row in rows], name
            assert status != "RUNNING"


def deliver(ledger, uri):
    """As `longhaul sync` does, once the last driver's own writer has given up."""
    from longhaul.tracking.connection import connect
    from longhaul.tracking.follow import deliver_once
    from longhaul.tracking.lock import TrackingBusyError, tracking_lock
    from longhaul.tracking.replay import Replay

    while True:
        try:
            with tracking_lock(ledger):
                delivery = Replay(ledger, lambda: connect(uri), uri)
                assert deliver_once(ledger, delivery, 600.0).delivered
                return
        except TrackingBusyError:
            time.sleep(1)


def tracked(database):
    """What MLflow has, past all its layers: by name of a run, its status and steps of losses."""
    with closing(sqlite3.connect(database)) as connection:
        runs = connection.execute(
            "select run_uuid, name, status from runs where lifecycle_stage = 'active'"
        ).fetchall()
        points = connection.execute("select run_uuid, step from metrics where key = 'valid/loss'")
        steps = defaultdict(list)
        for run, step in sorted(points):
            steps[run].append(step)
    shown = {name: (status, steps[run]) for run, name, status in runs}
    assert len(shown) == len(runs)
    return shown
