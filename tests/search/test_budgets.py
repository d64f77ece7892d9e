"""Budgets: what is counted, and the clean end of a search that has used one up."""

from datetime import UTC, datetime, timedelta

import pytest

from longhaul.ledger import Event, EventKind, Ledger, SearchState
from longhaul.search.run import SearchRun
from longhaul.search.spending import Spending
from longhaul.spec.search_spec import SearchSpec

SPACE = """
task: {{name: copying, delay: 5}}
cell: {{name: lstm, hidden_size: 8, forget_bias: {{uniform: [0, 3]}}}}
training: {{steps: 9, optimizer: {{name: adam, learning_rate: {{loguniform: [1e-4, 1e-1]}}}}}}
search: {{trials: 6, {limit}, scheduler: {{name: asha, grace_steps: 3}}}}
resources: {{gpus: 0.5}}
"""


def read(limit):
    return SearchSpec.from_text(SPACE.format(limit=limit), "space.yaml", name="s")


@pytest.fixture
def begin(tmp_path):
    def made(limit):
        spec = read(limit)
        ledger = Ledger.create(tmp_path, "s", spec.to_yaml(), {})
        return spec, ledger

    return made


def train(run, name):
    run.started(name, "node")
    run.decided(name, {"step": 3, "value": 0.5}, "continue")
    run.ended(name, {"step": 9, "value": 0.25, "diverged": None}, error=False)


def test_training_steps_end_a_search_in_order_and_the_rest_can_be_had_later(begin):
    spec, ledger = begin("steps: 12")
    with ledger.acquire() as writer:
        run = SearchRun(spec, ledger, writer)
        run.opened()
        for name in "ab":
            assert run.next_trial(name) is not None
            train(run, name)
        assert run.next_trial("c") is None
        assert (run.remaining, run.stop_reason) == (0, None)
        run.close()
    record = ledger.record()
    assert record.state is SearchState.COMPLETED
    assert record.reason == "the budget search.steps: 12 is used up"
    assert ledger.events()[-1].data["budget"] == "steps"
    with ledger.acquire() as writer:
        run = SearchRun(spec, ledger, writer, {"steps": None})
        assert run.remaining == 4


def test_gpu_hours_end_a_search(begin, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("longhaul.search.spending.time.monotonic", lambda: now[0])
    spec, ledger = begin("gpu_hours: 1")
    with ledger.acquire() as writer:
        run = SearchRun(spec, ledger, writer)
        run.opened()
        for name in "ab":  # two halves of a GPU
            run.next_trial(name)
            run.started(name, "node")
        now[0] += 3599
        assert run.used_up is None
        assert run.remaining == 4
        now[0] += 1
        assert run.used_up.name == "gpu_hours"
        assert run.remaining == 0
        used = {one.name: one.used for one in run.budgets}
        assert used == {"trials": 2, "max_failed_trials": 0, "gpu_hours": 1}


@pytest.mark.parametrize("most", [0, 1])
def test_as_many_trials_may_fail_as_are_allowed(begin, most):
    spec, ledger = begin(f"max_failed_trials: {most}")
    with ledger.acquire() as writer:
        run = SearchRun(spec, ledger, writer)
        for number in range(most + 1):
            assert run.stop_reason is None
            run.next_trial(str(number))
            run.started(str(number), "node")
            run.ended(str(number), None, error=True)
        assert f"search.max_failed_trials allows {most}" in run.stop_reason


def event(second, kind, trial=None, **data):
    time = datetime(2024, 5, 1, tzinfo=UTC) + timedelta(seconds=second)
    return Event(0, 0, time, kind, trial, data)


def hours(*events):
    spending = Spending()
    for one in events:
        spending.apply(one)
    return spending.gpu_hours


def test_a_trial_by_itself_holds_its_gpus_while_it_runs():
    assert hours(
        event(0, EventKind.OPENED, gpus=0.5),
        event(100, EventKind.SUGGESTED, 0),
        event(100, EventKind.STARTED, 0),
        event(1900, EventKind.STARTED, 1),
        event(3700, EventKind.STOPPED, 0),
        event(7300, EventKind.FAILED, 1),
        event(9999, EventKind.CLOSED),
    ) == pytest.approx(0.5 * (0.5 + 2 * 0.5 + 1))


def test_pack_hosts_hold_theirs_as_long_as_the_search_runs_and_no_longer():
    first = [
        event(0, EventKind.OPENED, gpus=1),
        event(0, EventKind.STARTED, 0, host=0),
        event(0, EventKind.STARTED, 1, host=1),
        event(0, EventKind.STARTED, 2, host=1),
        event(1800, EventKind.FINISHED, 0),
        event(3600, EventKind.REPORTED, 1),
    ]
    assert hours(*first) == 2
    second = [event(90000, EventKind.OPENED, gpus=1), event(93600, EventKind.STARTED, 1, host=0)]
    assert hours(*first, *second) == 2
    assert hours(*first, *second, event(97200, EventKind.FINISHED, 1)) == 3


def test_a_search_on_cpus_takes_no_gpu_hours():
    events = [event(0, EventKind.OPENED), event(0, EventKind.STARTED, 0)]
    assert hours(*events, event(3600, EventKind.FINISHED, 0)) == 0
