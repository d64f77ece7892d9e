"""The course of a search without Ray: who is handed out, and what the ledger says afterwards."""

import math
from datetime import UTC, datetime, timedelta

import pytest

from longhaul.ledger import Event, EventKind, Ledger, SearchState, TrialState
from longhaul.search.run import INTERRUPTED, SearchRun
from longhaul.search.spending import seconds_spent
from longhaul.spec.search_spec import SearchSpec

SPACE = """
task: {name: copying, delay: 5}
cell: {name: lstm, hidden_size: 8, forget_bias: {uniform: [0, 3]}}
training: {steps: 9, optimizer: {name: adam, learning_rate: {loguniform: [1e-4, 1e-1]}}}
search: {seed: 3, trials: 6, max_failed_trials: 1, scheduler: {name: asha, grace_steps: 3}}
"""


@pytest.fixture
def ledger(tmp_path):
    spec = SearchSpec.from_text(SPACE, "space.yaml", name="s")
    return Ledger.create(tmp_path, "s", spec.to_yaml(), {})


def opened(ledger, writer, trials=None):
    spec = SearchSpec.from_text(ledger.spec_text(), "spec.yaml", name="s")
    return SearchRun(spec, ledger, writer, {"trials": trials or spec.search.trials})


def result(step, value, diverged=None):
    return {"step": step, "value": value, "diverged": diverged}


def finish(run, tune_id, value=0.5):
    run.decided(tune_id, result(3, value), "continue")
    run.ended(tune_id, result(9, value / 2), error=False)


def test_trials_are_numbered_and_every_ending_is_recorded(ledger):
    with ledger.acquire() as writer:
        run = opened(ledger, writer)
        handed = [run.next_trial(name) for name in "abcd"]
        assert [one["number"] for one in handed] == [0, 1, 2, 3]
        assert [one["heard"] for one in handed] == [0] * 4
        for name in "abcd":
            run.started(name, "node")
        finish(run, "a", 0.5)
        run.decided("b", result(3, 0.9), "stop")
        run.ended("b", result(3, 0.9), error=False)
        run.ended("c", result(2, math.inf, "training loss is nan"), error=False)
        run.failed("d", "Failure # 1\nMemoryError: no\n")
        run.ended("d", None, error=True)
    record = ledger.record()
    states = [trial.state for trial in record.trials.values()]
    assert states == [
        TrialState.COMPLETED,
        TrialState.STOPPED,
        TrialState.DIVERGED,
        TrialState.FAILED,
    ]
    assert record.best().number == 0
    assert record.best().value == 0.25
    assert record.trials[1].value == 0.9
    assert record.trials[2].reason == "training loss is nan"
    assert record.trials[3].reason == "MemoryError: no"
    assert record.trials[0].reports == ((3, 0.5), (9, 0.25))
    for number, one in enumerate(handed):
        assert ledger.trial(number).config() == one["config"] == record.trials[number].config


def test_a_run_taken_up_again_finishes_what_was_begun_and_repeats_nothing(ledger):
    with ledger.acquire() as writer:
        run = opened(ledger, writer)
        first = [run.next_trial(name) for name in "abc"]
        finish(run, "a")
        run.decided("b", result(3, 0.7), "continue")
    with ledger.acquire() as writer:
        run = opened(ledger, writer)
        assert run.remaining == 5
        again = [run.next_trial(name) for name in "vwxyz"]
        assert run.next_trial("none") is None
    assert [one["number"] for one in again] == [1, 2, 3, 4, 5]
    assert [one["config"] for one in again[:2]] == [one["config"] for one in first[1:]]
    assert [one["heard"] for one in again] == [3, 0, 0, 0, 0]
    configs = [trial.config for trial in ledger.record().trials.values()]
    biases = {config["cell"]["forget_bias"] for config in configs}
    assert len(configs) == len(biases) == 6


def test_an_interrupted_search_suggests_what_the_undisturbed_one_does(ledger, tmp_path):
    def play(where, cut):
        where = Ledger.create(tmp_path / f"cut{cut}", "s", ledger.spec_text(), {})
        number = 0
        while number < 6:
            with where.acquire() as writer:
                run = opened(where, writer)
                while (handed := run.next_trial("t")) is not None:
                    number = handed["number"] + 1
                    finish(run, "t", handed["config"]["cell"]["forget_bias"] + 0.1)
                    if number in cut:
                        cut = cut - {number}
                        break
        return [trial.config for trial in where.record().trials.values()]

    assert play(ledger, frozenset()) == play(ledger, frozenset({1, 2, 4}))


def test_a_retried_trial_is_not_decided_on_twice(ledger):
    with ledger.acquire() as writer:
        run = opened(ledger, writer)
        run.next_trial("a")
        assert not run.heard("a", result(3, 0.5))
        run.decided("a", result(3, 0.5), "continue")
        assert run.heard("a", result(3, 0.5))
        assert not run.heard("a", result(9, 0.4))


def test_too_many_failures_end_the_search_and_say_why(ledger):
    with ledger.acquire() as writer:
        run = opened(ledger, writer)
        for name in "ab":
            run.next_trial(name)
            ledger.trial(run.number(name)).write_error("Traceback\nValueError: it broke\n")
        run.ended("a", None, error=True)
        assert run.stop_reason is None
        run.ended("b", None, error=True)
        assert "2 trials failed" in run.stop_reason
        assert "ValueError: it broke" in run.stop_reason
        assert run.next_trial("c") is None
        run.close()
    record = ledger.record()
    assert record.state is SearchState.FAILED
    assert "it broke" in record.reason


def test_an_interrupted_search_hands_out_no_more_and_goes_on_later(ledger):
    with ledger.acquire() as writer:
        run = opened(ledger, writer)
        run.next_trial("a")
        run.stop(INTERRUPTED)
        run.stop("something later")
        assert run.next_trial("b") is None
        run.close()
    assert ledger.record().state is SearchState.INTERRUPTED
    with ledger.acquire() as writer:
        assert opened(ledger, writer).next_trial("a")["number"] == 0


def test_raising_the_number_of_trials_extends_and_lowering_it_repeats_nothing(ledger):
    with ledger.acquire() as writer:
        run = opened(ledger, writer)
        for _ in range(6):
            run.next_trial("a")
            finish(run, "a")
        assert run.remaining == 0
        run.close()
    assert ledger.record().state is SearchState.COMPLETED
    with ledger.acquire() as writer:
        run = opened(ledger, writer, trials=8)
        assert run.remaining == 2
        assert run.next_trial("a")["number"] == 6
    with ledger.acquire() as writer:
        assert opened(ledger, writer, trials=2).remaining == 1  # number 6 was begun


def test_a_space_with_too_few_configurations_ends_early(tmp_path):
    text = """
task: {name: copying, delay: 5}
cell: {name: lstm, hidden_size: {choice: [4, 8]}}
search: {trials: 9, sampler: random}
"""
    spec = SearchSpec.from_text(text, "space.yaml", name="s")
    ledger = Ledger.create(tmp_path, "s", spec.to_yaml(), {})
    with ledger.acquire() as writer:
        run = opened(ledger, writer)
        sizes = {run.next_trial(name)["config"]["cell"]["hidden_size"] for name in "ab"}
        assert sizes == {4, 8}
        assert run.next_trial("c") is None
        assert run.exhausted


def test_a_search_with_enqueued_points_survives_an_end_between_any_two_trials(tmp_path):
    points = """enqueue: [
      {training.optimizer.learning_rate: 2e-4}, {cell.forget_bias: 1},
      {cell.forget_bias: 1, training.optimizer.learning_rate: 2e-4},
      {cell.forget_bias: 1, training.optimizer.learning_rate: 2e-4}], trials: 6,"""
    text = SPACE.replace("trials: 6,", points)
    spec = SearchSpec.from_text(text, "space.yaml", name="s")

    def play(folder, handed_at_once):
        ledger = Ledger.create(tmp_path / folder, "s", spec.to_yaml(), {})
        while len(ledger.record().trials) < 6:
            with ledger.acquire() as writer:
                run = opened(ledger, writer)
                for name in "abcdef"[:handed_at_once]:
                    if run.next_trial(name) is not None:
                        finish(run, name)
        return [trial.config for trial in ledger.record().trials.values()]

    whole = play("whole", 6)
    assert play("cut", 1) == play("pairs", 2) == whole
    rates = [config["training"]["optimizer"]["learning_rate"] for config in whole]
    biases = [config["cell"]["forget_bias"] for config in whole]
    assert rates[0] == rates[2] == 2e-4
    assert biases[1] == biases[2] == 1.0
    assert (rates[3], biases[3]) != (2e-4, 1.0)


def test_the_number_of_parameters_is_recorded_with_the_suggestion(tmp_path):
    def count(n):
        return 4 * n * (10 + n + 1) + 9 * n + 9

    for cell, fits in (
        ("{name: lstm, hidden_size: 8, forget_bias: {uniform: [0, 3]}}", 8),
        ("{name: lstm, parameters: 1000, forget_bias: {uniform: [0, 3]}}", 10),
    ):
        text = SPACE.replace("{name: lstm, hidden_size: 8, forget_bias: {uniform: [0, 3]}}", cell)
        spec = SearchSpec.from_text(text, "space.yaml", name="s")
        ledger = Ledger.create(tmp_path / str(fits), "s", spec.to_yaml(), {})
        with ledger.acquire() as writer:
            handed = opened(ledger, writer).next_trial("a")
        trial = ledger.record().trials[0]
        assert handed["config"]["cell"]["hidden_size"] == fits
        assert trial.config == ledger.trial(0).config() == handed["config"]
        assert trial.parameters == count(fits)


def test_a_trial_that_cannot_be_trained_has_no_number_of_parameters():
    from longhaul.search.run import _parameters

    assert _parameters({"task": "copying", "cell": {"name": "lstm", "parameters": 2}}) is None


def test_after_its_seconds_no_further_trial_begins_and_those_begun_are_finished(
    ledger, monkeypatch
):
    now = [100.0]
    monkeypatch.setattr("longhaul.search.spending.time.monotonic", lambda: now[0])
    text = ledger.spec_text().replace("seconds: null", "seconds: 60")
    spec = SearchSpec.from_text(text, "spec.yaml", name="s")
    assert spec.sha256 == SearchSpec.from_text(ledger.spec_text(), "spec.yaml", name="s").sha256
    with ledger.acquire() as writer:
        run = SearchRun(spec, ledger, writer)
        assert run.next_trial("a")["number"] == 0
        now[0] += 59
        assert run.next_trial("b")["number"] == 1
        now[0] += 1
        assert run.next_trial("c") is None
        assert run.remaining == 0
        for name in "ab":
            run.started(name, "node")
            finish(run, name)
        run.close()
    record = ledger.record()
    assert record.state == SearchState.COMPLETED
    assert record.reason == "the budget search.seconds: 60 is used up"


def test_the_seconds_of_a_search_are_those_of_all_its_runs():
    def event(second, kind, trial=None):
        time = datetime(2024, 5, 1, tzinfo=UTC) + timedelta(seconds=second)
        return Event(0, 0, time, kind, trial)

    events = [
        event(0, EventKind.OPENED),
        event(10, EventKind.SUGGESTED, 0),
        event(25, EventKind.REPORTED, 0),
        event(1000, EventKind.OPENED),
        event(1010, EventKind.STARTED, 0),
        event(1013, EventKind.FINISHED, 0),
        event(1500, EventKind.CLOSED),
    ]
    assert seconds_spent(events) == 15 + 3
    assert seconds_spent(events[:1]) == 0
