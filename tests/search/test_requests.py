"""Changes to a search that runs: asked for beside its driver, heeded by it, kept by the ledger."""

import json
from itertools import count

import pytest
from click.testing import CliRunner

from longhaul.cli.main import main
from longhaul.ledger import EventKind, Ledger
from longhaul.search import limits as limits_module
from longhaul.search.driver import changed_limits
from longhaul.search.limits import Limits
from longhaul.search.requests import ask, in_force, read_requests
from longhaul.search.run import SearchRun
from longhaul.spec.search_spec import SearchSpec

SPACE = """
task: {name: copying, delay: 5}
cell: {name: lstm, hidden_size: 8, forget_bias: {uniform: [0, 3]}}
training: {steps: 9, optimizer: {name: adam, learning_rate: {loguniform: [1e-4, 1e-1]}}}
search: {trials: 2, parallel: 1, scheduler: {name: asha, grace_steps: 3}}
"""


def read(text=SPACE):
    return SearchSpec.from_text(text, "space.yaml", name="s")


@pytest.fixture
def ledger(tmp_path, monkeypatch):
    seconds = count(100.0, limits_module.LOOK_S)
    monkeypatch.setattr(limits_module.time, "monotonic", lambda: next(seconds))
    return Ledger.create(tmp_path, "s", read().to_yaml(), {})


def finish(run, name):
    run.started(name, "node")
    for step, value in ((3, 0.5), (9, 0.25)):
        result = {"step": step, "value": value, "diverged": None}
        if step < 9:
            run.decided(name, result, "continue")
    run.ended(name, result, error=False)


def test_a_running_search_heeds_what_is_asked_and_the_next_driver_too(ledger):
    with ledger.acquire() as writer:
        run = SearchRun(read(), ledger, writer)
        run.opened()
        assert run.next_trial("a")["number"] == 0
        assert run.full
        ask(Ledger.open(ledger.storage.root.parent, "s"), {"parallel": 3, "trials": 4})
        run.heed_requests()
        assert (run.trials, run.limits.at_once, run.full) == (4, 3, False)
        assert run.next_trial("b")["number"] == 1
        for name in "ab":
            finish(run, name)
    changed = [one for one in ledger.events() if one.kind is EventKind.CHANGED]
    assert [one.data["changes"] for one in changed] == [{"parallel": 3, "trials": 4}]
    with ledger.acquire() as writer:
        run = SearchRun(read(), ledger, writer)
        assert (run.trials, run.limits.at_once, run.remaining) == (4, 3, 2)
        run.opened()
        run.heed_requests()
    assert len([one for one in ledger.events() if one.kind is EventKind.CHANGED]) == 1


def test_what_is_asked_while_nobody_runs_it_holds_from_the_next_driver_on(ledger):
    ask(ledger, {"trials": 5})
    ask(ledger, {"trials": 7, "steps": 1000})
    assert (in_force(ledger).trials, in_force(ledger).steps) == (7, 1000)
    for _ in range(2):
        with ledger.acquire() as writer:
            run = SearchRun(read(), ledger, writer)
            assert (run.trials, run.limits.search.steps) == (7, 1000)
            run.opened()
    with ledger.acquire() as writer:  # who says so when resuming has the last word
        run = SearchRun(read(), ledger, writer, {"trials": 3})
        run.opened()
    assert (in_force(ledger).trials, in_force(ledger).steps) == (3, 1000)


def test_a_file_that_was_edited_since_the_search_began_is_a_change():
    edited = read(SPACE.replace("parallel: 1", "parallel: 2, seconds: 60"))
    assert changed_limits(read(), edited) == {"parallel": 2, "seconds": 60}
    assert changed_limits(read(), read()) == {}


def test_pack_hosts_are_as_many_as_they_are(ledger):
    limits = Limits(read(), ledger.storage, [], {"parallel": 9})
    assert limits.at_once == 9
    limits.room, limits.room_is_all = 2, True
    assert limits.at_once == 2
    limits.room_is_all = False  # Ray waits for nodes that an autoscaler brings
    assert limits.at_once == 9
    limits.search = limits.search.with_changes(parallel=None)
    assert limits.at_once == 2


def test_a_damaged_request_asks_for_nothing(ledger):
    ledger.storage.create("requests/000000.json", b'{"format": 1, "changes": {"seed": 3}, "by"')
    ledger.storage.create(
        "requests/000001.json", b'{"format": 1, "changes": {"seed": 3}, "by": "me"}'
    )
    ask(ledger, {"trials": 9})
    assert [one.changes for one in read_requests(ledger.storage)] == [{}, {}, {"trials": 9}]
    with ledger.acquire() as writer:
        assert SearchRun(read(), ledger, writer).trials == 9


@pytest.fixture
def command(ledger):
    storage = str(ledger.storage.root.parent)
    return lambda *words: CliRunner().invoke(main, ["set", "s", *words, "--storage", storage])


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("search.seed=3", "is fixed once a search has begun"),
        ("training.steps=3", "search.steps"),
        ("search.trails=3", "did you mean 'search.trials'?"),
        ("search.trials=0", "expected a number >= 1"),
        ("search.trials=many", "expected a whole number"),
        ("search.trials", "expected PATH=VALUE"),
    ],
)
def test_what_cannot_change_is_refused_with_what_can(command, ledger, word, told):
    result = command(word)
    assert result.exit_code == 2
    assert told in result.stderr
    assert not list(read_requests(ledger.storage))


def test_the_number_at_once_decides_in_a_search_by_number(command, ledger, tmp_path):
    ordered = read(SPACE.replace("parallel: 1", "parallel: 1, order: number"))
    Ledger.create(tmp_path, "o", ordered.to_yaml(), {})
    words = ["set", "o", "search.parallel=2", "--storage", str(tmp_path)]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2
    assert "order is number" in result.stderr


def test_the_command_shows_what_was_and_what_is(command):
    result = command("search.trials=20", "search.gpu_hours=1.5", "--json")
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    assert told["limits"]["trials"] == 20
    assert told["before"]["trials"] == 2
    assert told["taken"] is False
    shown = command()
    assert "search.gpu_hours          1.5" in shown.stdout
