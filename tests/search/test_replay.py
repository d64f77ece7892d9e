"""Searches with reports in any order, interrupted and taken up again, decided on once more."""

import dataclasses
import json
import math
import random
import shutil

import pytest
from click.testing import CliRunner

from longhaul.cli.main import main
from longhaul.ledger import EventKind, Ledger
from longhaul.search.order import NumberOrder
from longhaul.search.replay import replay
from longhaul.search.run import INTERRUPTED, SearchRun
from longhaul.search.scheduler import build_scheduler
from longhaul.spec.search_spec import SearchSpec

SPACE = """
task: {name: copying, delay: 5}
cell:
  choice:
    - {name: lstm, hidden_size: 8, forget_bias: {uniform: [0, 3]}}
    - {name: gru, hidden_size: 8}
training: {steps: 27, optimizer: {name: adam, learning_rate: {loguniform: [1e-4, 1e-1]}}}
search:
  {seed: 3, trials: 24, ORDER, scheduler: {name: SCHEDULER, OPTIONS}, sampler: {name: SAMPLER}}
"""


class Loop:
    """What Tune does with a search, one random event after the other, without training."""

    def __init__(self, run, seed, parallel=4):
        self.run = run
        self.random = random.Random(seed)
        self.parallel = parallel
        self.let = None
        if run.spec.search.order == "number":
            self.let = {}
            rungs, events = run.spec.rungs(), run.ledger.events()
            run.take_turns(NumberOrder(parallel, rungs, events, self.let.__setitem__))
        self.scheduler = build_scheduler(run.spec, run)
        self.scheduler.refill(run.reports())
        self.live = {}
        self.begun = 0

    def go(self, events=math.inf):
        while events > 0 and (self.fill() or self.live):
            tune_id = self.random.choice(sorted(filter(self.free, self.live)))
            self.advance(tune_id, self.live[tune_id])
            events -= 1

    def free(self, tune_id):
        """Whether a trial may report, or fails, which it does when it likes."""
        _, handed, rungs = self.live[tune_id]
        number = handed["number"]
        return self.let is None or number % 9 == 4 or self.let.get(number, 0) >= rungs[0]

    def fill(self):
        while len(self.live) < self.parallel:
            tune_id = f"t{self.begun}"
            handed = self.run.next_trial(tune_id)
            if handed is None:
                return False
            self.begun += 1
            trial = type("Trial", (), {"trial_id": tune_id, "error_file": None})
            self.scheduler.on_trial_add(None, trial)
            rungs = [rung for rung in self.run.spec.rungs() if rung > handed["heard"]]
            self.live[tune_id] = (trial, handed, rungs)
        return True

    def advance(self, tune_id, told):
        trial, handed, rungs = told
        step = rungs.pop(0)
        result = {"step": step, "value": self.loss(handed, step), "diverged": None}
        if handed["number"] % 9 == 4:
            result = None
        elif handed["number"] % 7 == 5:
            result |= {"value": math.inf, "diverged": "training loss is nan"}
        elif not rungs:
            pass  # Tune ends a trial that says it is done without asking
        elif self.scheduler.on_trial_result(None, trial, result) == "CONTINUE":
            return
        self.scheduler.on_trial_complete(None, trial, result)
        del self.live[tune_id]
        self.run.ended(tune_id, result, error=result is None)

    def loss(self, handed, step):
        rate = handed["config"]["training"]["optimizer"]["learning_rate"]
        return (abs(math.log10(rate) + 2.5) + 0.1) * (1 + 3 / step)


def search(folder, sampler, scheduler="asha", order="arrival", seed=0, cuts=(11, 1, 9)):
    text = SPACE.replace("SAMPLER", sampler).replace("SCHEDULER", scheduler)
    text = text.replace("ORDER", f"parallel: 4, order: {order}")
    text = text.replace(", OPTIONS", ", grace_steps: 3" if scheduler == "asha" else "")
    spec = SearchSpec.from_text(text, "space.yaml", name="s")
    ledger = Ledger.create(folder, "s", spec.to_yaml(), {})
    for events in (*cuts, math.inf):
        with ledger.acquire() as writer:
            run = SearchRun(spec, ledger, writer)
            run.opened()
            Loop(run, seed + run.remaining).go(events)
            if run.remaining or events < math.inf:
                run.stop(INTERRUPTED)
            run.close()
    return spec, ledger


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    return search(tmp_path_factory.mktemp("storage"), "random")


@pytest.mark.parametrize(
    ("sampler", "scheduler"),
    [("tpe", "asha"), ("cmaes", "asha"), ("nsga2", "full")],
)
def test_every_decision_of_an_interrupted_search_comes_out_again(tmp_path, sampler, scheduler):
    spec, ledger = search(tmp_path, sampler, scheduler)
    replayed = replay(spec, ledger.events())
    assert replayed.differences == ()
    assert replayed.suggestions == 24
    reported = [event for event in ledger.events() if event.kind is EventKind.REPORTED]
    assert replayed.decisions == len(reported)
    decisions = {event.data["decision"] for event in reported}
    assert decisions >= ({"stop", "done"} if scheduler == "asha" else {"done"})


def changed(events, wanted, **data):
    """The events, the first of a kind with other data; and which it is."""
    events = list(events)
    index = next(i for i, event in enumerate(events) if wanted(event))
    events[index] = dataclasses.replace(events[index], data=events[index].data | data)
    return events, events[index]


def test_a_changed_decision_is_told_and_only_that(searched):
    spec, ledger = searched
    stopped = lambda event: event.data.get("decision") == "stop"  # noqa: E731
    events, event = changed(ledger.events(), stopped, decision="continue")
    (difference,) = replay(spec, events).differences
    assert (difference.event, difference.trial) == (event.sequence, event.trial)
    assert (difference.what, difference.step) == ("decision", event.data["step"])
    assert (difference.recorded, difference.found) == ("continue", "stop")


def test_a_changed_suggestion_is_told_with_the_leaves_that_differ(searched):
    spec, ledger = searched
    tenth = lambda event: event.kind is EventKind.SUGGESTED and event.trial == 10  # noqa: E731
    _, event = changed(ledger.events(), tenth)
    config = json.loads(json.dumps(event.data["config"]))
    config["training"]["optimizer"]["learning_rate"] = 0.0123
    events, _ = changed(ledger.events(), tenth, config=config)
    (difference,) = replay(spec, events).differences
    name = "training.optimizer.learning_rate"
    assert (difference.what, difference.trial) == ("suggestion", 10)
    assert difference.recorded == {name: 0.0123}
    assert difference.found == {
        name: event.data["config"]["training"]["optimizer"]["learning_rate"]
    }


def test_a_changed_report_is_found_by_what_was_suggested_after_it(tmp_path):
    spec, ledger = search(tmp_path, "tpe", "full")
    finished = [event for event in ledger.events() if event.kind is EventKind.FINISHED]
    worst = max(finished[:10], key=lambda event: event.data["value"])
    events, event = changed(ledger.events(), lambda event: event == worst, value=1e-9)
    differences = replay(spec, events).differences
    assert differences
    assert all(one.event > event.sequence for one in differences)


def test_the_command_says_so_and_exits_accordingly(searched, tmp_path):
    spec, ledger = searched
    shutil.copytree(ledger.storage.uri.removeprefix("file://"), tmp_path / "s")
    words = ["replay", "s", "--storage", str(tmp_path)]
    told = CliRunner().invoke(main, words)
    assert told.exit_code == 0
    assert told.output.startswith("s: identical\n24 suggestions and ")
    wrong = spec.to_yaml().replace("seed: 3", "seed: 4")
    (tmp_path / "s" / "spec.yaml").write_text(wrong)
    told = CliRunner().invoke(main, [*words, "--json"])
    assert told.exit_code == 1
    found = json.loads(told.stdout)
    assert found["verdict"] == "different"
    assert len([one for one in found["differences"] if one["what"] == "suggestion"]) == 24


def story(ledger):
    """What happened to the trials, in order, without times."""
    return [(e.kind, e.trial, e.data) for e in ledger.events() if e.trial is not None]


def test_in_the_order_of_numbers_speed_and_interruptions_decide_nothing(tmp_path):
    stories = []
    for seed, cuts in enumerate([(), (), (1, 2, 13), (30,)]):
        folder = tmp_path / str(seed)
        spec, ledger = search(folder, "tpe", order="number", seed=seed, cuts=cuts)
        stories.append(story(ledger))
        assert replay(spec, ledger.events()).differences == ()
    assert stories[1:] == stories[:1] * 3
    kinds = {kind for kind, _, _ in stories[0]}
    assert kinds >= {EventKind.STOPPED, EventKind.FINISHED, EventKind.DIVERGED, EventKind.FAILED}


def test_in_the_order_of_arrival_they_do(tmp_path):
    stories = [story(search(tmp_path / str(seed), "tpe", seed=seed)[1]) for seed in range(2)]
    assert stories[0] != stories[1]
