"""For the tests that break running searches: a user's folder, drivers as processes, a witness."""

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

PATIENCE_S = 600.0
"""How long to wait for what must happen: a busy machine needs minutes to start Ray and train."""

COUNTED: dict[tuple[str, str], int] = {}
"""What was acknowledged in the searches that a test has checked, by project and search."""

ENTRY_POINTS = "[longhaul.cells]\nslow_lstm = witness:SlowLSTM\nbroken = witness:Broken\n"


@dataclass(frozen=True)
class Process:
    """A process, told apart from a later one of the same number by its start."""

    pid: int
    start: str
    title: str = field(compare=False)

    @property
    def alive(self) -> bool:
        return _process(self.pid) == self

    def kill(self) -> None:
        if self.alive:
            os.kill(self.pid, signal.SIGKILL)


@dataclass
class Driver:
    """A `longhaul` command as a process of its own session."""

    popen: subprocess.Popen[bytes]
    folder: Path
    words: tuple[str, ...]
    output: Path
    errors: Path
    started: list[Process] = field(default_factory=list)

    @property
    def stdout(self) -> str:
        return self.output.read_text(encoding="utf-8")

    @property
    def stderr(self) -> str:
        return self.errors.read_text(encoding="utf-8")

    @property
    def running(self) -> bool:
        return self.popen.poll() is None

    def json(self) -> dict[str, Any]:
        return json.loads(self.stdout)

    def wait(self) -> int:
        """The exit status; a driver that does not end is killed, and the test fails."""
        try:
            return self.popen.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.end()
            raise AssertionError(f"{self.words} does not end:\n{self.stderr}") from None

    def send(self, number: int) -> None:
        self.popen.send_signal(number)

    def look(self) -> list[Process]:
        """Notes the processes that came from it, while that can be told."""
        known = {one.pid for one in self.started}
        found = {one.pid: one for one in _descendants(self.popen.pid) + _in_folder(self.folder)}
        self.started += [one for pid, one in found.items() if pid not in {*known, self.popen.pid}]
        return self.started

    def kill(self) -> None:
        """SIGKILL, for the driver alone."""
        self.look()  # once it is dead, nobody can tell what came from it
        self.popen.kill()
        self.popen.wait()

    def end(self) -> None:
        """Leaves nothing of it behind."""
        if self.running:
            self.kill()
        for process in self.started:
            process.kill()

    def survivors(self) -> list[Process]:
        """Which of its processes outlive it by more than their own clearing up.

        The writer to MLflow goes on for a while on purpose, and two of Ray's agents look for their
        parent only once a minute.
        """
        expected = ("longhaul.tracking", "ray::DashboardAgent", "ray::RuntimeEnvAgent")
        deadline = time.monotonic() + 60
        while True:
            # Read anew: a process gives itself a title while it starts.
            now = [_process(one.pid) for one in self.started if one.alive]
            alive = [one for one in now if one is not None]
            left = [one for one in alive if not any(title in one.title for title in expected)]
            if not left or time.monotonic() > deadline:
                return left
            time.sleep(0.1)


class Project:
    """A user's folder: spaces, a plug-in package, the storage, an MLflow database with tables."""

    def __init__(self, folder: Path, database: Path) -> None:
        self.folder = folder
        self.storage = folder / "longhaul-runs"
        self.plugins = folder / "plugins"
        self.token = ""
        self.prefix: tuple[str, ...] = ()  # of every command, to run it elsewhere
        self.drivers: list[Driver] = []
        self._seen: dict[str, Any] = {}
        self._database = database
        self.tracking_uri = self.new_tracking_uri("mlflow")
        metadata = self.plugins / "witness-1.0.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: witness\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
        shutil.copy(Path(__file__).with_name("witness.py"), self.plugins)

    def new_tracking_uri(self, name: str) -> str:
        """A database for MLflow that holds nothing yet."""
        return f"sqlite:///{shutil.copy(self._database, self.folder / f'{name}.db')}"

    def space(self, name: str, **sections: Any) -> str:
        """Writes a tiny space; ``training`` and ``search`` are added to the usual settings."""
        rate = {"loguniform": [1e-4, 1e-1]}
        content = {
            "task": {"name": "copying", "delay": 5},
            "cell": {"name": "lstm", "hidden_size": 8, "forget_bias": {"uniform": [0, 3]}},
            "training": {
                "steps": 45,
                "batch_size": 4,
                "evaluate_every": 5,
                "validation_size": 20,
                "test_size": 20,
                "optimizer": {"name": "adam", "learning_rate": rate},
            },
            "search": {"trials": 4, "scheduler": {"name": "asha", "grace_steps": 5}},
        }
        for key, value in sections.items():
            both = isinstance(value, dict) and key in ("training", "search")
            content[key] = content[key] | value if both else value
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        return path.name

    def start(self, *words: str, **environment: str) -> Driver:
        number = len(self.drivers)
        output, errors = self.folder / f"{number}.out", self.folder / f"{number}.err"
        with output.open("wb") as out, errors.open("wb") as err:
            popen = subprocess.Popen(
                [*self.prefix, sys.executable, "-P", "-m", "longhaul", *words],
                cwd=self.folder,
                env=self.environment() | environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        driver = Driver(popen, self.folder, words, output, errors)
        self.drivers.append(driver)
        return driver

    def start_cluster(self, cpus: int) -> str:
        """A Ray cluster that ends with this project, for ``--address``."""
        code = f"""
import ray, sys
started = ray.init(address="local", num_cpus={cpus}, include_dashboard=False)
print(started.address_info["gcs_address"], flush=True)
sys.stdin.read()
"""
        self.token = secrets.token_hex(32)
        words = [sys.executable, "-P", "-c", code]
        environment = self.environment() | {"RAY_USAGE_STATS_ENABLED": "0"}
        output, errors = self.folder / "cluster.out", self.folder / "cluster.err"
        with output.open("wb") as out, errors.open("wb") as err:
            popen = subprocess.Popen(
                words,
                cwd=self.folder,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        self.drivers.append(Driver(popen, self.folder, ("a cluster",), output, errors))
        deadline = time.monotonic() + PATIENCE_S
        while not output.read_text().endswith("\n"):
            assert popen.poll() is None, errors.read_text()
            assert time.monotonic() < deadline, errors.read_text()
            time.sleep(0.1)
        return output.read_text().strip()

    def environment(self) -> dict[str, str]:
        """That of this process, without what would lead elsewhere, and with the plug-in."""
        ours = {k: v for k, v in os.environ.items() if not k.startswith(("LONGHAUL_", "MLFLOW_"))}
        path = [str(self.plugins), *filter(None, [os.environ.get("PYTHONPATH")])]
        ours |= {"PYTHONPATH": os.pathsep.join(path), "OMP_NUM_THREADS": "1"}
        if self.token:  # of the cluster, which lets in nobody else
            ours |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.token}
        return ours

    def run(self, *words: str, **environment: str) -> Driver:
        driver = self.start(*words, **environment)
        driver.wait()
        return driver

    def ledger(self, name: str) -> Any:
        from longhaul.ledger import Ledger

        return Ledger.open(self.storage, name)

    def kill_after(self, when: int | str) -> None:
        """Has the next driver killed right after so many events, or after the first of a kind."""
        (self.plugins / "kill-after").write_text(str(when))

    @contextmanager
    def held(self) -> Iterator[None]:
        """Meanwhile no trial makes a step."""
        hold = self.plugins / "hold"
        hold.touch()
        try:
            yield
        finally:
            hold.unlink()

    def witnessed(self) -> list[dict[str, Any]]:
        """What the ledger has acknowledged, in order; a torn last line is none."""
        path = self.plugins / "witness.jsonl"
        lines = path.read_text().split("\n")[:-1] if path.exists() else []
        return [json.loads(line) for line in lines]

    def await_witness(self, driver: Driver, wanted: Callable[[dict[str, Any]], bool]) -> Any:
        """The first thing of this kind that is acknowledged from now on."""
        seen = len(self.witnessed())
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            for one in self.witnessed()[seen:]:
                if wanted(one):
                    return one
            assert driver.running, driver.stderr
            time.sleep(0.02)
        raise AssertionError(f"not seen in {PATIENCE_S} s\n{driver.stderr}")

    def check_nothing_is_lost(self, name: str) -> None:
        """What was ever acknowledged, or seen by a reader, is there as it was."""
        ledger = self.ledger(name)
        events = {event.sequence: event for event in ledger.events()}
        rows = {}
        for number in ledger.trial_numbers():
            for row in ledger.trial(number).history().to_pylist():
                # a column that only a later point has is empty in the earlier ones from then on
                rows[number, row["step"]] = {k: v for k, v in row.items() if v is not None}
        before_events, before_rows = self._seen.get(name, ({}, {}))
        assert {key: events.get(key) for key in before_events} == before_events
        assert {key: rows.get(key) for key in before_rows} == before_rows
        self._seen[name] = events, rows
        for told in self.witnessed():
            if "row" in told:
                assert _as_json(rows[told["trial"], told["row"]["step"]]) == told["row"]
            else:
                event = events[told["event"]]
                assert (event.kind, event.trial) == (told["kind"], told["trial"])
                assert _as_json(event.data) == told["data"]
        COUNTED[str(self.folder), name] = len(self.witnessed())

    def tree(self, folder: Path | None = None) -> dict[str, bytes]:
        """Every file below the storage, with its content."""
        root = folder or self.storage
        files = (path for path in root.rglob("*") if path.is_file())
        return {str(path.relative_to(root)): path.read_bytes() for path in files}

    def close(self) -> None:
        for driver in self.drivers:
            driver.look()
            driver.end()


@pytest.fixture(autouse=True)
def _counted(
    request: pytest.FixtureRequest, record_property: Callable[[str, object], None]
) -> Iterator[None]:
    """For the fault table: how many reports a test that passes has found again, each once."""
    COUNTED.clear()
    yield
    if COUNTED and request.node.get_closest_marker("fault"):
        counts = {"reports": sum(COUNTED.values()), "lost": 0, "doubled": 0}
        for name, count in counts.items():
            record_property(name, count)


@pytest.fixture(scope="session")
def empty_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with all its tables: to make them takes many seconds."""
    from longhaul.tracking.connection import connect

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    connect(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="module")
def new_project(
    tmp_path_factory: pytest.TempPathFactory, empty_mlflow: Path
) -> Iterator[Callable[[], Project]]:
    projects: list[Project] = []

    def make() -> Project:
        projects.append(Project(tmp_path_factory.mktemp("project"), empty_mlflow))
        return projects[-1]

    yield make
    for project in projects:
        project.close()


@pytest.fixture(scope="session")
def expected_history() -> Callable[..., dict[int, dict[str, float]]]:
    """The curve of a configuration as the trainers alone produce it, by step."""
    return _expected_history


@pytest.fixture(scope="session")
def recorded_history() -> Callable[[Any, int], dict[int, dict[str, float]]]:
    """The same from a ledger, without what the clock decides."""
    return _recorded_history


def _expected_history(config: dict[str, Any], rungs: list[int]) -> dict[int, dict[str, float]]:
    import torch

    from longhaul_trainers.training.pack import Pack
    from longhaul_trainers.training.settings import TrialConfig

    torch.set_num_threads(1)
    cell = {key: value for key, value in config["cell"].items() if key != "wait_s"}
    if cell["name"] == "slow_lstm":
        cell["name"] = "lstm"
    pack = Pack([TrialConfig.parse(config | {"cell": cell})])
    points = [point for rung in rungs for (point,) in pack.train(rung)]
    return {point.step: _untimed(point.metrics) for point in points}


def _recorded_history(ledger: Any, number: int) -> dict[int, dict[str, float]]:
    rows = ledger.trial(number).history().to_pylist()
    return {row.pop("step"): _untimed(row) for row in rows}


def _as_json(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str))


def _untimed(row: dict[str, Any]) -> dict[str, Any]:
    # a row of the ledger has every column, empty where a point has no such metric
    timed = ("time", "speed/steps_per_second")
    return {k: v for k, v in row.items() if k not in timed and v is not None}


def _process(pid: int) -> Process | None:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
        title = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return None
    fields = status[status.rindex(")") + 2 :].split()
    return None if fields[0] in "ZX" else Process(pid, fields[19], title)


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def _descendants(pid: int) -> list[Process]:
    parents: dict[int, list[int]] = {}
    for one in _pids():
        try:
            status = Path(f"/proc/{one}/stat").read_text()
        except OSError:
            continue
        parents.setdefault(int(status[status.rindex(")") + 2 :].split()[1]), []).append(one)
    found, waiting = [], [pid]
    while waiting:
        children = parents.get(waiting.pop(), [])
        waiting += children
        found += [one for child in children if (one := _process(child))]
    return found


def _in_folder(folder: Path) -> list[Process]:
    found = []
    for pid in _pids():
        try:
            here = Path(os.readlink(f"/proc/{pid}/cwd"))
        except OSError:
            continue
        if here.is_relative_to(folder) and (one := _process(pid)):
            found.append(one)
    return found
