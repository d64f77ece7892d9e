"""The driver from its first line to its last, with a loop in place of Ray Tune's."""

import json
from contextlib import nullcontext

import pytest

from longhaul.ledger import Ledger
from longhaul.search import driver
from longhaul.search.driver import Place, run_search
from longhaul.search.fleet import Fleet
from longhaul.search.log import FILE, search_log
from longhaul.search.requests import ask
from longhaul.search.searcher import LedgerSearcher, StopRequested
from longhaul.search.view import PlainView
from longhaul.spec.search_spec import SearchSpec
from longhaul.tracking import Lag

SPACE = """
task: {name: copying, delay: 5}
cell: {name: lstm, hidden_size: 8, forget_bias: {uniform: [0, 3]}}
training: {steps: 9, optimizer: {name: adam, learning_rate: {loguniform: [1e-4, 1e-1]}}}
search: {trials: 2, parallel: 1, scheduler: {name: asha, grace_steps: 3}}
"""


class Nobody:
    """Stands for the writer to MLflow and for metrics."""

    def __init__(self, *_):
        pass

    def start(self):
        pass

    def keep_alive(self):
        pass

    def look(self):
        pass

    def told(self):
        return None

    def drain(self, timeout_s):
        return Lag.unknown(0, "")


class Loop:
    """Asks for trials, trains none, and tells of their ends: what Tune does of a search."""

    def __init__(self, ledger):
        self.ledger = ledger
        self.most = 0
        self.asked = False

    def run(self, run, tick):
        searcher, stop, live, count = LedgerSearcher(run), StopRequested(run), [], 0
        assert searcher.set_max_concurrency(1)
        while not stop.stop_all():
            given = searcher.suggest(f"t{count}")
            if given == searcher.FINISHED:
                break
            if given is not None:
                live.append(f"t{count}")
                run.started(live[-1], "node")
                count += 1
                self.most = max(self.most, len(live))
                continue
            tick()
            if count == 2 and not self.asked:  # the last that there is to hand out runs
                self.asked = True
                assert not run.remaining
                ask(self.ledger, {"trials": 5, "parallel": 2})
                run.limits._looked = -1e9  # a second later
                continue
            name = live.pop(0)
            run.decided(name, {"step": 3, "value": 0.5}, "continue")
            result = {"step": 9, "value": 0.25, "diverged": None}
            searcher.on_trial_complete(name, result)


@pytest.fixture
def played(tmp_path, monkeypatch):
    spec = SearchSpec.from_text(SPACE, "space.yaml", name="s")
    ledger = Ledger.create(tmp_path, "s", spec.to_yaml(), {})
    loop, said = Loop(ledger), []
    monkeypatch.setattr(driver, "connected_to_ray", lambda address: nullcontext())
    monkeypatch.setattr(driver, "plan", lambda *_: Fleet(1, 2, 0, 1, 1, 0, 1, "cpu"))
    monkeypatch.setattr(driver, "TrackingProcess", Nobody)
    monkeypatch.setattr(driver, "Watch", Nobody)
    monkeypatch.setattr(driver, "Silence", Nobody)
    monkeypatch.setattr(driver, "_control_store", lambda: "127.0.0.1:1")
    runs = []
    began = driver.SearchRun

    def kept(*given):
        runs.append(began(*given))
        return runs[-1]

    monkeypatch.setattr(driver, "SearchRun", kept)
    monkeypatch.setattr(driver, "_tune", lambda tuner, tick: loop.run(runs[-1], tick))

    def play(**overrides):
        with search_log(ledger):
            return run_search(ledger, Place(str(tmp_path), ""), PlainView(said.append), overrides)

    return play, ledger, loop, said


def test_a_search_that_is_extended_in_its_last_trial_goes_on_with_more_at_once(played):
    play, ledger, loop, said = played
    run = play()
    assert run.ending == ("complete", None)
    record = ledger.record()
    assert (len(record.trials), loop.most) == (5, 2)
    assert record.state == "completed"
    assert said[0] == "at most 2 trials × 9 steps = 18 steps, about 12 to be expected"
    kinds = [json.loads(one)["kind"] for one in (ledger.storage.root / FILE).open()]
    assert kinds == [str(one.kind) for one in ledger.events()]
    assert kinds.count("changed") == 1
    assert play().remaining == 0  # nothing is left, and Ray is not even started


def test_a_budget_ends_it_and_a_larger_one_lets_it_go_on(played):
    play, ledger, loop, _ = played
    loop.asked = True
    run = play(steps=9)
    assert run.ending[0] == "the budget search.steps: 9 is used up"
    assert len(ledger.record().trials) == 1
    assert ledger.record().reason == run.ending[0]
    assert play(steps=None).ending == ("complete", None)
    assert len(ledger.record().trials) == 2
