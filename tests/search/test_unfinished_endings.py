"""What a driver that died, or was interrupted, leaves to the next one."""

import math

import pytest
from ray.tune import TuneError

from longhaul.errors import LonghaulError
from longhaul.ledger import Ledger, StorageFullError
from longhaul.search.driver import _tune
from longhaul.search.run import SearchRun
from longhaul.spec.search_spec import SearchSpec

SPACE = """
task: {name: copying, delay: 5}
cell: {name: lstm, hidden_size: 8, forget_bias: {uniform: [0, 3]}}
training: {steps: 9, optimizer: {name: adam, learning_rate: {loguniform: [1e-4, 1e-1]}}}
search: {seed: 3, trials: 3, scheduler: {name: asha, grace_steps: 3}}
"""


@pytest.fixture
def ledger(tmp_path):
    spec = SearchSpec.from_text(SPACE, "space.yaml", name="s")
    return Ledger.create(tmp_path, "s", spec.to_yaml(), {})


def opened(ledger, writer):
    spec = SearchSpec.from_text(ledger.spec_text(), "spec.yaml", name="s")
    return SearchRun(spec, ledger, writer, {"trials": spec.search.trials})


@pytest.mark.fault("extend", "a search is interrupted that was extended")
def test_a_search_that_was_extended_and_interrupted_stays_extended(ledger):
    spec = SearchSpec.from_text(SPACE, "space.yaml", name="s")
    for given, expected in ((None, 3), (5, 5), (None, 5), (4, 4), (None, 4)):
        with ledger.acquire() as writer:
            run = SearchRun(spec, ledger, writer, {"trials": given} if given else None)
            assert (run.trials, run.remaining) == (expected, expected)
            writer.append("opened", trials=run.trials)


def result(step, value):
    return {"step": step, "value": value, "diverged": None, "full": None}


@pytest.mark.parametrize(
    ("last", "decision", "kind"), [(3, "stop", "stopped"), (9, "done", "finished")]
)
@pytest.mark.fault("driver", "death of the driver between a decision and the trial's end")
def test_an_end_that_was_decided_on_is_written_by_the_next_driver(ledger, last, decision, kind):
    with ledger.acquire() as writer:
        run = opened(ledger, writer)
        run.next_trial("a")
        run.decided("a", result(last, 0.5), decision)
    with ledger.acquire() as writer:
        run = opened(ledger, writer)
        assert run.remaining == 3
        run.settle()
        assert run.remaining == 2
        # The sampler heard of it too, or it could not go on.
        assert [run.next_trial(name)["number"] for name in "bc"] == [1, 2]
        states = [trial.state.name for trial in run._study._study.get_trials()]
        assert states[0] == {"stopped": "PRUNED", "finished": "COMPLETE"}[kind]
    end = [event for event in ledger.events() if event.trial == 0][-1]
    assert (end.kind, end.data) == (kind, {"step": last, "value": 0.5})
    assert len([event for event in ledger.events() if event.kind == "reported"]) == 1


def test_nothing_else_is_settled(ledger):
    with ledger.acquire() as writer:
        run = opened(ledger, writer)
        run.next_trial("a")
        run.decided("a", result(3, 0.5), "continue")
        run.next_trial("b")
        before = ledger.events()
        run.settle()
        assert ledger.events() == before


def test_a_full_storage_ends_the_search_and_leaves_the_trial_open(ledger):
    with ledger.acquire() as writer:
        run = opened(ledger, writer)
        run.next_trial("a")
        run.next_trial("b")
        full = {"step": 0, "value": math.inf, "done": True, "full": "no space left on ..."}
        run.ended("a", full, error=False)
        assert run.stop_reason == "no space left on ..."
        assert run.next_trial("c") is None
        run.close()
    record = ledger.record()
    assert (record.state, record.reason) == ("failed", "no space left on ...")
    assert [one.state for one in record.trials.values()] == ["suggested"] * 2
    with ledger.acquire() as writer:
        assert opened(ledger, writer).remaining == 3


def test_what_the_ledger_says_is_shown_as_it_was_though_tune_makes_a_text_of_it():
    class Tuner:
        def fit(self):
            try:
                raise StorageFullError("no space left on ...")
            except StorageFullError:
                raise TuneError("Traceback ...")  # noqa: B904 - as Tune does

    with pytest.raises(LonghaulError, match=r"^no space left on \.\.\.$"):
        _tune(lambda scratch: Tuner(), lambda: None)
