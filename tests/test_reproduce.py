"""Repeating a recorded trial, and telling identical from alike from different."""

import math

import pytest
import torch

from longhaul import environment
from longhaul.errors import RequestError
from longhaul.ledger import EventKind, Ledger
from longhaul.reproduce import (
    Recording,
    recorded_in_ledger,
    repeat,
    study_seeds,
)
from longhaul_trainers.training.pack import Pack
from longhaul_trainers.training.settings import TrialConfig

CONFIG = TrialConfig.parse(
    {
        "task": {"name": "copying", "delay": 5},
        "cell": {"name": "exprnn", "hidden_size": 8},
        "training": {
            "steps": 12,
            "batch_size": 4,
            "evaluate_every": 5,
            "validation_size": 10,
            "test_size": 10,
        },
        "seed": 4,
    }
).dump()


def silent(done: int, total: int) -> None:
    assert 0 < done <= total


@pytest.fixture(autouse=True)
def _threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def recording():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    pack = Pack([TrialConfig.parse(CONFIG)])
    # Rungs cut the curve where its own points do not: at 7 here.
    history = [
        {"step": point.step, "time": 0, **point.metrics}
        for until in (7, 12)
        for (point,) in pack.train(until)
    ]
    captured = environment.capture("cpu", 1)
    torch.set_num_threads(before)
    return Recording("s/00000", CONFIG, captured, history)


def changed(recording, **changes):
    return Recording(**{**vars(recording), **changes})


def with_value(recording, row, metric, value):
    history = [dict(one) for one in recording.history]
    history[row][metric] = value
    return changed(recording, history=history)


def test_the_same_trial_is_identical_at_points_that_rungs_added(recording):
    assert [row["step"] for row in recording.history] == [5, 7, 10, 12]
    verdict = repeat(recording, 0.01, silent)
    assert verdict.verdict == "identical"
    assert verdict.values == verdict.equal > 4 * 5
    assert verdict.first is None
    assert verdict.environment == []


def test_the_clock_is_not_compared(recording):
    faster = with_value(recording, 0, "speed/steps_per_second", 1e9)
    assert repeat(faster, 0.0, silent).verdict == "identical"


def test_a_value_one_bit_off_is_within_tolerance_and_named(recording):
    recorded = recording.history[1]["valid/loss"]
    off = math.nextafter(recorded, math.inf)
    verdict = repeat(with_value(recording, 1, "valid/loss", off), 0.01, silent)
    assert verdict.verdict == "within tolerance"
    assert (verdict.first.step, verdict.first.metric) == (7, "valid/loss")
    assert (verdict.first.recorded, verdict.first.repeated) == (off, recorded)
    assert verdict.equal == verdict.values - 1
    assert repeat(with_value(recording, 1, "valid/loss", off), 0.0, silent).verdict == "different"


@pytest.mark.parametrize("value", [1.5, None, math.nan, math.inf])
def test_a_value_far_off_or_missing_is_different(recording, value):
    verdict = repeat(with_value(recording, 2, "train/loss", value), 0.01, silent)
    assert verdict.verdict == "different"
    assert (verdict.first.step, verdict.first.metric) == (10, "train/loss")


def test_another_seed_is_different_from_the_first_point_on(recording):
    verdict = repeat(changed(recording, config={**CONFIG, "seed": 5}), 0.01, silent)
    assert verdict.verdict == "different"
    assert verdict.first.step == 5


def test_equal_values_of_another_environment_are_not_called_identical(recording):
    other = {**recording.environment, "instruction_set": "ABACUS"}
    verdict = repeat(changed(recording, environment=other), 0.01, silent)
    assert verdict.verdict == "within tolerance"
    assert verdict.equal == verdict.values
    assert verdict.environment == [
        f"instruction_set: ABACUS / {recording.environment['instruction_set']}"
    ]
    assert repeat(changed(recording, environment={}), 0.01, silent).verdict == "within tolerance"


def test_the_recorded_thread_count_is_used(recording):
    threads = {**recording.environment, "threads": 2}
    verdict = repeat(changed(recording, environment=threads), 0.01, silent)
    assert torch.get_num_threads() == 2
    assert verdict.environment == []


def test_fresh_seeds_give_mean_deviation_and_interval(recording):
    study = study_seeds(recording, 3, silent)
    assert len(set(study.seeds)) == 3
    assert CONFIG["seed"] not in study.seeds
    losses = study.values["test/loss"]
    assert len(set(losses)) == 3
    mean = sum(losses) / 3
    deviation = math.sqrt(sum((one - mean) ** 2 for one in losses) / 2)
    summary = study.summary["test/loss"]
    assert summary["mean"] == pytest.approx(mean)
    assert summary["deviation"] == pytest.approx(deviation)
    # Student's t for 2 degrees of freedom, from a table.
    half = 4.302653 * deviation / math.sqrt(3)
    assert summary["high"] - summary["mean"] == pytest.approx(half, rel=1e-6)
    assert summary["low"] == pytest.approx(mean - half, rel=1e-6)
    assert study_seeds(recording, 3, silent) == study


def test_a_diverged_seed_is_counted_and_not_averaged(recording):
    config = {**CONFIG, "cell": {"name": "rnn", "hidden_size": 8}}
    config["training"] = {
        **CONFIG["training"],
        "optimizer": {"name": "sgd", "learning_rate": 1e30},
    }
    study = study_seeds(changed(recording, config=config), 2, silent)
    assert study.diverged == 2
    assert study.values["valid/loss"] == [None, None]
    assert study.summary["valid/loss"] == {}


def test_a_recording_is_found_by_search_and_trial(tmp_path, recording):
    ledger = Ledger.create(tmp_path, "s", "a: 1", {})
    with ledger.acquire() as writer:
        for number in (0, 1):
            data = {"params": {}, "distributions": {}, "config": {**CONFIG, "seed": number}}
            writer.append(EventKind.SUGGESTED, number, **data)
        with pytest.raises(RequestError, match="no trial that ran all its steps"):
            recorded_in_ledger(str(tmp_path), "s", None)
        with pytest.raises(RequestError, match="not recorded anything"):
            recorded_in_ledger(str(tmp_path), "s", 0)
        rows = [{"step": 1, "time": writer.append(EventKind.STARTED, 1).time, "train/loss": 1.0}]
        ledger.trial(1).append_history(rows, writer.fence)
        ledger.trial(1).write_environment(recording.environment)
        writer.append(EventKind.FINISHED, 1, step=12, value=0.5)
    found = recorded_in_ledger(str(tmp_path), "s", None)
    assert found.label == "s/00001"
    assert found.config["seed"] == 1
    assert found.environment == recording.environment
    assert found.history[0]["train/loss"] == 1.0
    with pytest.raises(RequestError, match="0 to 1"):
        recorded_in_ledger(str(tmp_path), "s", 7)


def test_a_fingerprint_covers_what_may_change_bits_and_nothing_else(recording):
    captured = recording.environment
    assert captured["fingerprint"] == environment.fingerprint(captured)
    for part in environment.BITS:
        assert environment.fingerprint({**captured, part: "other"}) != captured["fingerprint"]
    assert environment.fingerprint({**captured, "system": "other"}) == captured["fingerprint"]
    versions = {**captured["versions"], "torch": "0.1"}
    lines = environment.differences(captured, {**captured, "versions": versions})
    assert lines == [f"versions.torch: {captured['versions']['torch']} / 0.1"]


def test_no_secret_of_the_environment_is_recorded(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-value")
    assert "canary-value" not in str(environment.capture("cpu", 1))
