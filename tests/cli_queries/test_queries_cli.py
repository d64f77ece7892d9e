"""list, status, best, show, export: what they answer, and how they refuse."""

import json
import math
import os
import re
from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from longhaul.cli.main import main

BASELINE = 0.1733


@pytest.fixture
def run(tmp_path: Path):
    def call(*words: str, status: int = 0) -> str:
        environment = {"LONGHAUL_STORAGE": str(tmp_path / "runs")}
        result = CliRunner().invoke(main, words, env=environment)
        assert result.exit_code == status, result.output
        return result.stdout if status == 0 else result.stderr

    return call


@pytest.fixture
def ask(run):
    def call(*words: str):
        return json.loads(run(*words, "--json"))

    return call


def test_list(new_search, run, ask):
    assert "no searches" in run("list")
    new_search("first").run_all()
    other = new_search("second")
    other.suggest(0)
    other.start(0)
    found = ask("list")["searches"]
    assert [(one["name"], one["state"], one["trials"]) for one in found] == [
        ("first", "completed", 8),
        ("second", "running", 1),
    ]
    assert found[0]["best"]["trial"] == 0
    assert found[0]["counts"]["stopped"] == 3
    assert found[1]["best"] is None
    other.die()
    assert ask("list")["searches"][1]["state"] == "interrupted"
    text = run("list")
    assert "3 completed, 3 stopped, 1 diverged, 1 failed" in text
    assert "1 interrupted" in text


def test_status_of_a_running_search(new_search, run, ask):
    search = new_search()
    search.run(0, "finish")
    search.suggest(1)
    search.start(1)
    search.train(1, 100)
    search.report(1)
    status = ask("status", "toy")
    assert status["state"] == "running"
    value = search.loss(1, 100)
    assert status["running"] == [
        {
            "trial": 1,
            "step": 100,
            "steps": 600,
            "value": value,
            "shown": f"{value:.4g}",
            "node": "here",
            "host": None,
        }
    ]
    assert "pack host" not in run("status", "toy")
    search._append("started", 1, attempt=2, from_step=100, node="here", host=3)
    assert ask("status", "toy")["running"][0]["host"] == 3
    assert "pack host" in run("status", "toy")
    assert status["best"]["over_baseline"] == pytest.approx(math.exp(-1.5))
    assert status["steps_trained"] == 700
    assert str(os.getpid()) in status["owner"]
    assert status["mlflow"] is None
    assert "longhaul sync toy" in run("status", "toy")
    assert "100 of 600" in run("status", "toy")


def test_status_knows_how_far_mlflow_is(whole_search, ask, run):
    from longhaul.tracking import Lag

    last = whole_search.ledger.record().last_event
    known = {"trials": 0, "undeliverable": {}, "skipped": 0, "error": None}
    Lag(events=0, time=whole_search.time(0, 0), through=last, **known).write(
        whole_search.ledger.storage
    )
    assert ask("status", "toy")["mlflow"]["delivered"] is True
    assert "up to date" in run("status", "toy")
    # The writer died before the last three events.
    Lag(events=0, time=whole_search.time(0, 0), through=last - 3, **known).write(
        whole_search.ledger.storage
    )
    lag = ask("status", "toy")["mlflow"]
    assert (lag["delivered"], lag["events"]) == (False, 3)


def test_best(whole_search, ask, run):
    best = ask("best", "toy")
    assert (best["trial"], best["value"]) == (0, whole_search.loss(0, 600))
    assert best["over_baseline"] == pytest.approx(whole_search.loss(0, 600) / BASELINE)
    assert best["test"] == {"test/loss": whole_search.loss(0, 600) * 1.01, "test/accuracy": 0.9}
    assert best["config"] == whole_search.ledger.trial(0).config()
    assert (best["hidden_size"], best["parameters"]) == (64, 5000)
    assert best["reproduce"] == f"longhaul reproduce toy/0 --storage {whole_search.storage}"
    text = run("best", "toy")
    assert "learning_rate: 0.001" in text
    assert re.search(r"^hidden size +64\nparameters +5,000$", text, re.M)
    assert best["reproduce"] in text


def test_no_best_is_a_failure_that_says_why(new_search, run):
    search = new_search()
    search.run(0, "stop", 100)
    search.run(1, "diverge", 100)
    assert "1 stopped, 1 diverged" in run("best", "toy", status=1)


def test_show(whole_search, ask, run):
    rows = ask("show", "toy")["trials"]
    assert [row["trial"] for row in rows][:3] == [0, 1, 4]
    assert sorted(row["trial"] for row in rows) == list(range(8))
    failed = ask("show", "toy", "6")
    assert (failed["state"], failed["reason"]) == ("failed", "RuntimeError: boom")
    assert failed["value"] is None
    assert failed["reports"] == []
    assert (failed["hidden_size"], failed["parameters"]) == (64, 5006)
    diverged = ask("show", "toy", "5")
    assert diverged["state"] == "diverged"
    assert diverged["test"] == {}
    assert "training loss is infinite" in run("show", "toy")
    assert "forget_bias=2" in run("show", "toy")


def test_wrong_requests_are_refused(whole_search, run):
    assert "it has 0 to 7" in run("show", "toy", "99", status=2)
    assert "Did you mean 'toy'?" in run("status", "toyy", status=2)
    for name in ("../toy", "TOY", "a/b"):
        assert "cannot name a search" in run("best", name, status=2)
    assert "x.parquet" in run("export", "toy", "/nowhere/x.parquet", status=1)
    assert "same file" in run("export", "toy", "x", "--curves", "x", status=2)


def test_export(whole_search, ask, tmp_path):
    file = tmp_path / "trials.parquet"
    done = ask("export", "toy", str(file))
    assert done["files"] == [str(file), str(tmp_path / "trials-curves.parquet")]
    trials = pq.read_table(file).to_pylist()
    assert [row["trial"] for row in trials] == list(range(8))
    first, stopped, failed = trials[0], trials[2], trials[6]
    assert first["state"] == "completed"
    assert first["value"] == whole_search.loss(0, 600)
    assert first["over_baseline"] == pytest.approx(first["value"] / BASELINE)
    assert first["training.optimizer.learning_rate"] == 0.001
    assert first["cell.name"] == "exprnn"
    assert first["cell.forget_bias"] is None
    assert first["training.clip_norm"] is None
    assert first["seed"] == 4_000_000_000_000_000_000
    assert first["parameters"] == 5000
    assert first["ended"].utcoffset() == timedelta(0)
    assert (stopped["state"], stopped["step"], stopped["test/loss"]) == ("stopped", 100, None)
    assert (stopped["cell.hidden_size"], stopped["parameters"]) == (64, 5002)
    assert failed["reason"] == "RuntimeError: boom"

    curves = pq.read_table(tmp_path / "trials-curves.parquet")
    expected = [
        {"trial": number, **row}
        for number in range(8)
        for row in whole_search.ledger.trial(number).history().to_pylist()
    ]
    found = [{k: v for k, v in row.items() if v is not None} for row in curves.to_pylist()]
    # As text, because NaN equals nothing.
    assert [repr(sorted(row.items())) for row in found] == [
        repr(sorted((k, v) for k, v in row.items() if v is not None)) for row in expected
    ]


def test_export_of_a_search_without_trials(new_search, ask, tmp_path):
    new_search()
    done = ask(
        "export", "toy", str(tmp_path / "a.parquet"), "--curves", str(tmp_path / "b.parquet")
    )
    assert (done["trials"], done["points"]) == (0, 0)
    assert pq.read_table(tmp_path / "b.parquet").column_names == ["trial", "step", "time"]


def test_durations() -> None:
    from longhaul.summary import duration

    texts = [duration(s) for s in (0.04, 9.96, 59.6, 61, 3599.7, 7500)]
    assert texts == ["0.0 s", "10.0 s", "1 min 00 s", "1 min 01 s", "1 h 00 min", "2 h 05 min"]
