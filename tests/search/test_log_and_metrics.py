"""What a running search tells programs: lines of JSON, and metrics for Prometheus."""

import json
import logging
import math
import re
from pathlib import Path

import pytest

from longhaul.ledger import Ledger
from longhaul.search import metrics
from longhaul.search.log import FILE, search_log
from longhaul.search.metrics import EXPORTED, GAUGES, SearchMetrics, snapshot
from longhaul.search.run import SearchRun
from longhaul.search.view import LogView
from longhaul.spec.search_spec import SearchSpec
from longhaul.tracking import Lag

ROOT = Path(__file__).parents[2]
SPACE = """
task: {name: copying, delay: 5}
cell: {name: lstm, hidden_size: 8, forget_bias: {uniform: [0, 3]}}
training: {steps: 9, optimizer: {name: adam, learning_rate: {loguniform: [1e-4, 1e-1]}}}
search: {trials: 4, parallel: 3, steps: 100, max_failed_trials: 0, scheduler: {name: asha}}
"""


@pytest.fixture
def ledger(tmp_path):
    spec = SearchSpec.from_text(SPACE, "space.yaml", name="s")
    return Ledger.create(tmp_path, "s", spec.to_yaml(), {})


def play(ledger, writer):
    """Three trials: one is completed, one diverges, one runs."""
    run = SearchRun(SearchSpec.from_text(SPACE, "space.yaml", name="s"), ledger, writer)
    run.opened()
    for name in "abc":
        run.next_trial(name)
        run.started(name, "node")
    run.decided("a", {"step": 1, "value": 0.5}, "continue")
    run.ended("a", {"step": 9, "value": 0.25, "diverged": None}, error=False)
    reason = "loss is nan, password=hunter2"
    run.ended("b", {"step": 2, "value": math.inf, "diverged": reason}, error=False)
    return run


def lines(ledger):
    text = (ledger.storage.root / FILE).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_every_event_is_a_line_with_time_level_search_and_trial(ledger):
    with search_log(ledger), ledger.acquire() as writer:
        play(ledger, writer)
    told = lines(ledger)
    events = ledger.events()
    assert [one["event"] for one in told] == [one.sequence for one in events]
    assert [one["kind"] for one in told] == [str(one.kind) for one in events]
    assert [one["trial"] for one in told] == [one.trial for one in events]
    assert {one["search"] for one in told} == {"s"}
    assert {one["level"] for one in told if one["kind"] == "diverged"} == {"warning"}
    assert "config" not in str(told)
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00", one["time"]) for one in told)


def test_the_lines_hold_no_secret_and_only_what_json_knows(ledger):
    with search_log(ledger), ledger.acquire() as writer:
        run = play(ledger, writer)
        run.decided("c", {"step": 1, "value": math.nan}, "stop")
    text = (ledger.storage.root / FILE).read_text()
    assert "hunter2" not in text
    assert "loss is nan" in text
    assert lines(ledger)[-1]["value"] == "nan"


def test_warnings_are_in_the_log_and_still_on_standard_error(ledger, capsys, monkeypatch):
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # those of pytest
    with search_log(ledger), ledger.acquire() as writer:
        logging.getLogger("longhaul.ledger").warning("a segment is damaged")
        play(ledger, writer)
    assert lines(ledger)[0]["message"] == "a segment is damaged"
    assert capsys.readouterr().err == "a segment is damaged\n"
    logging.getLogger("longhaul.ledger").warning("afterwards")
    assert len(lines(ledger)) == 1 + len(ledger.events())


def test_standard_error_in_json_is_json_alone(ledger, capsys):
    with search_log(ledger, stderr_as_json=True), ledger.acquire() as writer:
        view = LogView()
        view.message("starting Ray ...")
        run = play(ledger, writer)
        view.show(run.record, run.trials)
        view.show(run.record, run.trials)
        view.warn("MLflow is behind")
    told = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [one["kind"] for one in told if one["kind"] in ("message", "progress")] == [
        "message",
        "progress",
        "message",
    ]
    assert next(one for one in told if one["kind"] == "progress")["ended"] == 2
    assert told[-1]["level"] == "warning"


@pytest.mark.parametrize("place", ["/dev/full", "/proc/nowhere/log"])
def test_a_log_that_cannot_be_written_stops_nobody(ledger, capsys, monkeypatch, place):
    monkeypatch.setattr(type(ledger.storage), "local_path", lambda *_: Path(place))
    with search_log(ledger), ledger.acquire() as writer:
        play(ledger, writer)
    assert len(ledger.record().trials) == 3
    assert "Traceback" not in capsys.readouterr().err


class Recorded:
    """Stands for a metric of Ray: keeps what it is told."""

    kept: dict  # by name and labels

    def __init__(self, name, description="", tag_keys=None):
        self.name, self.tag_keys = name, tag_keys

    def set(self, value, tags):
        assert set(tags) == set(self.tag_keys)
        self.kept[self.name, *(tags[key] for key in self.tag_keys[1:])] = value

    def inc(self, value, tags):
        assert value > 0
        key = (self.name,)
        self.kept[key] = self.kept.get(key, 0) + value


@pytest.fixture
def told(monkeypatch):
    import ray.util.metrics

    Recorded.kept = {}
    monkeypatch.setattr(ray.util.metrics, "Gauge", Recorded)
    monkeypatch.setattr(ray.util.metrics, "Counter", Recorded)
    return Recorded.kept


def test_the_metrics_are_what_the_ledger_says(ledger, told):
    with ledger.acquire() as writer:
        run = play(ledger, writer)
        shown = SearchMetrics("s")
        shown.show(snapshot(run))
        last = run.record.last_event
        assert told["longhaul_mlflow_lag_events",] == last + 1
        Lag(3, 1, {}, 0, None, ledger.record().started, through=last - 2).write(ledger.storage)
        shown.show(snapshot(run))
    counts = {key[1]: value for key, value in told.items() if key[0] == "longhaul_trials"}
    assert {state: n for state, n in counts.items() if n} == {
        "completed": 1,
        "diverged": 1,
        "running": 1,
    }
    assert told["longhaul_training_steps",] == 11
    assert (told["longhaul_slots",], told["longhaul_slots_used",]) == (3, 1)
    assert told["longhaul_best_value",] == 0.25
    assert told["longhaul_mlflow_lag_events",] == 2
    assert told["longhaul_budget_used_ratio", "steps"] == 0.11
    assert told["longhaul_budget_used_ratio", "trials"] == 0.75
    assert told["longhaul_budget_used_ratio", "max_failed_trials"] == 0
    assert told["longhaul_ledger_write_seconds",] == 0  # none since the last look
    assert {key[0] for key in told} == {*GAUGES, metrics.STEPS}


def test_a_search_that_is_resumed_counts_only_its_new_steps(ledger, told):
    with ledger.acquire() as writer:
        run = play(ledger, writer)
        SearchMetrics("s", steps=9).show(snapshot(run))
    assert told["longhaul_training_steps",] == 2


def test_alerts_and_panels_may_name_these_metrics():
    names = (ROOT / "infra/monitoring/ray-metrics.txt").read_text(encoding="utf-8").split("\n")
    assert {name for name in names if name.startswith("ray_longhaul_")} == EXPORTED
