"""Shared by all tests: a search made of the ledger's own calls, without Ray or training."""

import json
import math
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

SPEC = """\
description: a toy
task: {name: copying, protocol: arjovsky-2016, delay: 100}
cell:
  choice:
  - {name: exprnn, hidden_size: 64, learning_rate_ratio: {loguniform: [0.03, 0.3]}}
  - {name: lstm, hidden_size: 64, forget_bias: {uniform: [0, 3]}}
training:
  steps: 600
  optimizer: {name: rmsprop, learning_rate: {loguniform: [0.0003, 0.01]}}
search: {trials: 8, seed: 0}
"""
STEPS = 600
BASELINE = 0.1733


REAL_DATA = os.environ.get("LONGHAUL_DATA") or Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session", autouse=True)
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """``LONGHAUL_DATA`` for all tests: what is really there, in a folder that may be written to."""
    folder = tmp_path_factory.mktemp("data")
    real = Path(REAL_DATA).expanduser().resolve()
    for file in real.iterdir() if real.is_dir() else ():
        if file.name != ".longhaul":
            (folder / file.name).symlink_to(file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LONGHAUL_DATA", str(folder))
        yield folder


@pytest.fixture
def require_data() -> Callable[[str], None]:
    """Skips a test for which a data set is not there."""

    def require(name: str) -> None:
        from longhaul_trainers.data.store import status

        found = status(name)
        if found.state == "missing":
            pytest.skip(found.problem.splitlines()[0])

    return require


class SyntheticSearch:
    """Writes a search into a ledger, event by event; times are made up and exact."""

    def __init__(self, storage: Path, name: str = "toy") -> None:
        from longhaul.ledger import Ledger

        self.storage, self.name = storage, name
        self.environment = {"fingerprint": "0123456789abcdef", "versions": {"python": "3.11.2"}}
        self.ledger = Ledger.create(str(storage), name, SPEC, self.environment)
        self._start = datetime(2024, 5, 1, 12, 0, 0, 123456, tzinfo=UTC)
        self._steps: dict[int, int] = {}
        self.resume()

    def resume(self) -> None:
        self._writer = self.ledger.acquire()
        self._append("opened", resumed=bool(self._steps))

    def give_up(self, kind: str = "closed", **data: Any) -> None:
        self._append(kind, reason="complete", **data)
        self._writer.close()

    def die(self) -> None:
        """Gives the lease up without a word in the events."""
        self._writer.close()

    def suggest(self, number: int, **changes: Any) -> None:
        exprnn = number % 2 == 0
        rate = 0.001 * (number + 1)
        cell: dict[str, Any] = {"name": "exprnn" if exprnn else "lstm", "hidden_size": 64}
        params: dict[str, Any] = {"cell": cell["name"], "training.optimizer.learning_rate": rate}
        if exprnn:
            cell["learning_rate_ratio"] = params["cell.exprnn.learning_rate_ratio"] = 0.1
        else:
            cell["forget_bias"] = params["cell.lstm.forget_bias"] = 1.0 + number
        config = {
            "task": {"name": "copying", "protocol": "arjovsky-2016", "delay": 100},
            "cell": cell,
            "training": {
                "steps": STEPS,
                "batch_size": 20,
                "clip_norm": None,
                "optimizer": {"name": "rmsprop", "learning_rate": rate},
            },
            "seed": 4_000_000_000_000_000_000 + number,
            **changes,
        }
        self.ledger.trial(number).write_config(config)
        self._append(
            "suggested",
            number,
            params=params,
            distributions={name: _distribution(name) for name in params},
            config=config,
            parameters=5000 + number,
        )

    def start(self, number: int) -> None:
        folder = self.ledger.trial(number)
        folder.write_environment({**self.environment, "threads": 1})
        step = self._steps.setdefault(number, 0)
        self._append("started", number, attempt=1, from_step=step, node="here", pid=1)

    def train(self, number: int, until: int, every: int = 50, **extra: float) -> None:
        """Adds the points of the curve up to step ``until``."""
        rows: list[dict[str, object]] = []
        for step in range(self._steps[number] + every, until + 1, every):
            loss = self.loss(number, step)
            row: dict[str, object] = {
                "step": step,
                "time": self.time(number, step),
                "train/loss": loss * 1.1,
                "valid/loss": loss,
                "valid/accuracy": 1 - loss,
                "valid/over_baseline": loss / BASELINE,
                "gradient/norm": 1 / 3 + step,
                "speed/steps_per_second": 123.456,
            }
            if number % 2 == 0:
                row["recurrent/orthogonality_error"] = 1e-7 * step
            rows.append(row | extra)
        self._steps[number] = until
        self.ledger.trial(number).append_history(rows, self._writer.fence)

    @staticmethod
    def loss(number: int, step: int) -> float:
        return BASELINE * (1 + number / 4) * math.exp(-step / 400)

    def time(self, number: int, step: int) -> datetime:
        return self._start + timedelta(seconds=number, milliseconds=step)

    def report(self, number: int, decision: str = "continue") -> None:
        step = self._steps[number]
        value = self.loss(number, step)
        self._append("reported", number, step=step, value=value, decision=decision)

    def finish(self, number: int) -> None:
        folder, step = self.ledger.trial(number), self._steps[number]
        folder.write_weights(_weights(number))
        folder.write_result(
            {
                "step": step,
                "valid/loss": self.loss(number, step),
                "best_step": step,
                "parameters": 5000 + number,
                "baseline": BASELINE,
                "test/loss": self.loss(number, step) * 1.01,
                "test/accuracy": 0.9,
            }
        )
        self.report(number, "done")
        self._append("finished", number, step=step, value=self.loss(number, step))
        folder.merge_history()

    def stop(self, number: int) -> None:
        step = self._steps[number]
        self.report(number, "stop")
        self._append("stopped", number, step=step, value=self.loss(number, step))
        self.ledger.trial(number).merge_history()

    def diverge(self, number: int) -> None:
        step = self._steps[number] + 50
        row = {"step": step, "time": self.time(number, step), "valid/loss": math.nan}
        self.ledger.trial(number).append_history(
            [row | {"train/loss": math.inf}], self._writer.fence
        )
        self._append("diverged", number, step=step, reason="training loss is infinite")

    def fail(self, number: int, error: str = "RuntimeError: boom") -> None:
        self.ledger.trial(number).write_error(f"Traceback\n{error}\n")
        self._append("failed", number, reason=error, attempts=2)

    def run(self, number: int, ending: str, until: int = STEPS) -> None:
        """A whole trial: ``finish``, ``stop``, ``diverge`` or ``fail`` at step ``until``."""
        self.suggest(number)
        self.start(number)
        self.train(number, until)
        getattr(self, ending)(number)

    def run_all(self) -> None:
        """Eight trials of all kinds, and the end of the search."""
        for number, (ending, until) in enumerate(
            [
                ("finish", STEPS),
                ("finish", STEPS),
                ("stop", 100),
                ("stop", 200),
                ("finish", STEPS),
                ("diverge", 300),
                ("fail", 50),
                ("stop", 100),
            ]
        ):
            self.run(number, ending, until)
        self.give_up()

    def _append(self, kind: str, trial: int | None = None, **data: Any) -> None:
        self._writer.append(kind, trial, **data)


def _distribution(name: str) -> str:
    if name == "cell":
        choices = {"choices": ["exprnn", "lstm"]}
        return json.dumps({"name": "CategoricalDistribution", "attributes": choices})
    log = not name.endswith("forget_bias")
    low, high = (0.0003, 0.3) if log else (0.0, 20.0)
    attributes = {"step": None, "low": low, "high": high, "log": log}
    return json.dumps({"name": "FloatDistribution", "attributes": attributes})


def _weights(number: int) -> bytes:
    import numpy
    from safetensors.numpy import save

    return save({"cell.weight": numpy.full((2, 2), number, dtype=numpy.float32)})


@pytest.fixture
def new_search(tmp_path: Path) -> Callable[..., SyntheticSearch]:
    """Makes a search in the storage ``tmp_path / 'runs'``."""

    def make(name: str = "toy") -> SyntheticSearch:
        return SyntheticSearch(tmp_path / "runs", name)

    return make


@pytest.fixture
def whole_search(new_search: Callable[..., SyntheticSearch]) -> SyntheticSearch:
    """A search with all its trials, closed."""
    search = new_search()
    search.run_all()
    return search


def mlflow_content(tracking_uri: str) -> dict[str, Any]:
    """Everything that MLflow holds of a search, by run name, read past the code under test.

    Runs are listed without any of our tags, so that a stray one would show.
    """
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=tracking_uri)
    experiments = [one.experiment_id for one in client.search_experiments()]
    content: dict[str, Any] = {}
    for run in client.search_runs(experiments, max_results=50_000):
        assert run.info.run_name not in content, f"two runs called {run.info.run_name}"
        metrics = {
            key: [(m.step, m.timestamp, m.value) for m in _history(client, run.info.run_id, key)]
            for key in run.data.metrics
        }
        content[run.info.run_name] = {
            "status": run.info.status,
            "start": run.info.start_time,
            "params": dict(run.data.params),
            "tags": dict(run.data.tags),
            "metrics": metrics,
            "artifacts": sorted(_artifacts(client, run.info.run_id)),
        }
    return content


def _history(client: Any, run_id: str, key: str) -> list[Any]:
    points = client.get_metric_history(run_id, key)
    return sorted(points, key=lambda metric: (metric.step, metric.timestamp))


def _artifacts(client: Any, run_id: str, path: str | None = None) -> list[str]:
    found = []
    for one in client.list_artifacts(run_id, path):
        found += _artifacts(client, run_id, one.path) if one.is_dir else [one.path]
    return found


def assert_equals_ledger(content: dict[str, Any], ledger: Any) -> None:
    """Compares `mlflow_content` of an ended search with its ledger, value by value."""
    record = ledger.record()
    shown = {name: run for name, run in content.items() if name != ledger.name}
    assert {int(name.split()[0]) for name in shown} == set(record.trials)
    status = {
        "completed": "FINISHED",
        "stopped": "KILLED",
        "diverged": "FAILED",
        "failed": "FAILED",
    }
    for name, run in shown.items():
        trial = record.trials[int(name.split()[0])]
        assert run["status"] == status[trial.state], name
        assert run["tags"]["longhaul.state"] == trial.state
        assert (
            float(run["params"]["training.optimizer.learning_rate"])
            == (trial.config["training"]["optimizer"]["learning_rate"])
        )
        assert run["params"]["seed"] == str(trial.seed)
        expected: dict[str, list[tuple[int, int, float]]] = {}
        for row in ledger.trial(trial.number).history().to_pylist():
            time = int(row["time"].timestamp() * 1000)
            for key, value in row.items():
                if key not in ("step", "time") and value is not None:
                    value = 1.7976931348623157e308 if value == math.inf else value
                    expected.setdefault(key, []).append((row["step"], time, value))
        measured = {
            key: points
            for key, points in run["metrics"].items()
            if key != "valid/best_loss" and not key.startswith("test/")
        }
        # As text, because NaN equals nothing.
        assert repr(measured) == repr({key: expected[key] for key in measured}), name
        assert set(measured) == set(expected)


@pytest.fixture
def content_of() -> Callable[[str], dict[str, Any]]:
    return mlflow_content


@pytest.fixture
def equals_ledger() -> Callable[[dict[str, Any], Any], None]:
    return assert_equals_ledger
