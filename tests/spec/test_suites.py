"""Suites: read like spaces, equal budgets, refused where a comparison would not be fair."""

import json

import pytest
from click.testing import CliRunner

from longhaul.cli.main import main
from longhaul.errors import RequestError
from longhaul.spec.search_settings import ASHASettings, FullSettings
from longhaul.spec.shipped import find_suite, shipped_suites, spaces_root
from longhaul.spec.suite import MOST_TRIALS, Suite, is_suite
from longhaul.spec.suite_fairness import published_score, task_key

SUITE = """\
description: two cells
budget: {trials: 3, steps: 20, scheduler: full}
seeds: 2
set: [task.delay=5, training.evaluate_every=10]
searches:
- space: copying/exprnn
  set: [cell.hidden_size=8]
- {space: mine.yaml, label: Mine}
"""
MINE = """\
task: {name: copying, delay: 9}
cell: {name: lstm, hidden_size: 8, forget_bias: {uniform: [0, 3]}}
training: {steps: 7}
search: {trials: 99, seed: 3}
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    folder = tmp_path / "suites"
    folder.mkdir()
    (folder / "mine.yaml").write_text(MINE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)  # spaces are looked for beside the suite, not here

    def write(text=SUITE, name="two.yaml"):
        (folder / name).write_text(text, encoding="utf-8")
        return f"suites/{name}"

    return write


def test_all_searches_get_the_same_budget(write):
    suite = Suite.load(write())
    assert [one.spec.name for one in suite.searches] == ["two-1-copying-exprnn", "two-2-mine"]
    assert [one.label for one in suite.searches] == ["copying/exprnn", "Mine"]
    for one in suite.searches:
        assert (one.spec.search.trials, one.spec.max_steps) == (3, 20)
        assert one.spec.search.scheduler == FullSettings()
        assert one.spec.tree["task"]["delay"] == 5
        assert one.spec.tree["training"]["evaluate_every"] == 10
    first, second = suite.searches
    assert first.spec.tree["cell"]["hidden_size"] == 8
    assert first.spec.enqueue  # what the space tries first is tried first here too
    assert second.spec.search.seed == 3


def test_the_command_line_changes_the_suite_or_every_search(write):
    changes = ["budget.trials=1", "seeds=4", "training.batch_size=2"]
    suite = Suite.load(write(), changes, "other")
    assert (suite.name, suite.seeds, suite.budget.trials) == ("other", 4, 1)
    assert [one.spec.tree["training"]["batch_size"] for one in suite.searches] == [2, 2]
    assert suite.searches[0].spec.name == "other-1-copying-exprnn"


def test_what_fills_a_hole_leaves_the_rest_of_the_points(write):
    rate = "training.optimizer.learning_rate"
    points = Suite.load(write()).searches[0].spec.enqueue
    assert all(rate in point and len(point) > 1 for point in points)
    filled = SUITE.replace("set: [task.delay=5,", f"set: [{rate}=0.01, task.delay=5,")
    suite = Suite.load(write(filled))
    left = tuple({name: one for name, one in point.items() if name != rate} for point in points)
    assert suite.searches[0].spec.enqueue == left


def test_seconds_alone_may_be_the_budget(write):
    suite = Suite.load(write(SUITE.replace("trials: 3, steps: 20, scheduler: full", "seconds: 60")),
                       ["training.steps=20"])  # fmt: skip
    search = suite.searches[0].spec.search
    assert (search.seconds, search.trials) == (60, MOST_TRIALS)
    assert search.scheduler == ASHASettings()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seeds: 2", "seeds: 1", "two.yaml:3: seeds: found 1; expected a whole number from 2"),
        ("seeds: 2", "seed: 2", "two.yaml:3: seed: unknown key 'seed'; did you mean 'seeds'?"),
        ("trials: 3", "trails: 3", "two.yaml:2: budget.trails: unknown key 'trails'; did you mean"),
        ("trials: 3", "trials: 0", "two.yaml:2: budget.trials: expected a number >= 1"),
        ("trials: 3, ", "", "budget: found neither trials nor seconds"),
        ("full", "asah", "two.yaml:2: budget.scheduler.name: unknown scheduler 'asah'; did you me"),
        ("label: Mine", "lable: Mine", "two.yaml:8: searches.1.lable: unknown key 'lable'; did yo"),
        ("copying/exprnn", "copying/exprn", "two.yaml:6: searches.0.space: 'copying/exprn': neit"),
        ("mine.yaml", "nowhere.yaml", "two.yaml:8: searches.1.space: nowhere.yaml: no such file"),
        ("cell.hidden_size=8", "cell.hiden_size=8", "two.yaml:7: cell.hiden_size: unknown key 'hi"),
        ("cell.hidden_size=8", "cell.hidden_size", "two.yaml:7 'cell.hidden_size': expected PATH="),
        ("[cell.hidden_size=8]", "8", "two.yaml:7: searches.0.set: found 8; expected a list of PA"),
        ("task.delay=5, ", "task.delay=x, ", "two.yaml:4: task.delay: expected a whole number, fo"),
        ("label: Mine", "published: LSTM", "no score is published of 'LSTM' under this protocol"),
        ("description:", "description: {a: 1} #", "two.yaml:1: description: found {'a': 1}; expec"),
        ("- space: copying/exprnn\n  set", "- set", "two.yaml:6: searches.0.space: found None"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(write, old, new, message):
    assert old in SUITE
    with pytest.raises(RequestError) as caught:
        Suite.load(write(SUITE.replace(old, new, 1)))
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["", "- 1\n", "searches: []\nbudget: {trials: 1}\n"])
def test_a_suite_has_searches(write, text):
    with pytest.raises(RequestError):
        Suite.load(write(text))


@pytest.mark.parametrize("key", ["steps", "validation_size", "test_size", "evaluate_every"])
def test_searches_on_one_task_are_measured_alike(write, key):
    # without steps in the budget, those of the spaces count
    changed = SUITE.replace("steps: 20, ", "").replace(
        "training.evaluate_every=10", "training.evaluate_every=10, training.steps=30"
    )
    assert Suite.load(write(changed)).searches[0].spec.max_steps == 30
    unequal = changed.replace("label: Mine", f"label: Mine, set: [training.{key}=11]")
    with pytest.raises(RequestError, match=rf"training\.{key} is 11 in two-2-mine and \d+ in two"):
        Suite.load(write(unequal))
    # another task is another table
    other = unequal.replace(f"training.{key}=11", f"training.{key}=11, task.delay=6")
    assert len(Suite.load(write(other)).searches) == 2


def published(task, model):
    found = published_score(task, model)
    assert found is not None
    return found


def test_a_published_score_is_that_of_the_setting():
    permuted = {"name": "pixels", "protocol": "lezcano-2019", "permutation": "protocol"}
    score, holds = published(permuted, "expRNN, n = 170")
    assert (score.value, holds) == (0.949, True)
    score, holds = published(permuted | {"permutation": "none"}, "expRNN, n = 170")
    assert (score.value, holds) == (0.980, True)
    score, holds = published(permuted | {"permutation": "numpy-0"}, "expRNN, n = 170")
    assert (score.value, holds) == (0.949, False)
    music = {"name": "music", "protocol": "bai-2018", "collection": "nottingham"}
    assert published(music, "LSTM")[0].value == 3.29
    pydoc = {"name": "characters", "protocol": "kerg-2019", "text": "pydoc"}
    score, holds = published(pydoc, "RNN")
    assert (score.setting, holds) == ("text: ptb", False)


def test_suites_and_spaces_are_told_apart(write):
    assert is_suite(write())
    assert not is_suite("suites/mine.yaml")
    assert not is_suite("copying/exprnn")
    assert not is_suite("nowhere")
    name = next(iter(shipped_suites()))
    assert is_suite(name)
    assert is_suite(f"suites/{name}")
    assert find_suite(f"suites/{name}") == (spaces_root() / f"suites/{name}.yaml", name)


@pytest.mark.parametrize("name", shipped_suites())
def test_shipped_suites_are_fair_and_say_how_they_are_run(name):
    suite = Suite.load(name)
    assert suite.name == name
    assert suite.description
    assert len(suite.searches) >= 2
    rows = {(task_key(one.spec.tree["task"]), one.label) for one in suite.searches}
    assert len(rows) == len(suite.searches)
    lines = shipped_suites()[name].read_text(encoding="utf-8").splitlines()
    comment = [line.lstrip("# ") for line in lines if line.startswith("#")]
    assert f"longhaul search suites/{name}" in comment
    assert f"longhaul compare {name}" in comment


def test_check_states_budget_seeds_and_parameters(write):
    done = CliRunner().invoke(main, ["check", write(), "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["budget"]["trials"] == 3
    assert (told["seeds"], told["selection"]) == (2, "validation")
    assert told["most_steps"] == 2 * 3 * 20
    assert told["seed_steps"] == 2 * 2 * 20
    assert [one["steps"] for one in told["searches"]] == [20, 20]
    assert [one["cells"][0]["smallest"] for one in told["searches"]] == [197, 689]
    shown = CliRunner().invoke(main, ["check", write()]).stdout
    assert "equal for all searches: 3 trials" in shown
    assert "over 2 fresh seeds" in shown
