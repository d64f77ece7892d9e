"""Recognising holes, asking for them, and what Optuna makes of them."""

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from longhaul.errors import LonghaulError, RequestError
from longhaul.spec.document import Document
from longhaul.spec.hole_reading import read_holes
from longhaul.spec.holes import (
    Choice,
    Int,
    LogInt,
    LogUniform,
    Uniform,
    describe_hole,
    dump_tree,
    fill,
    fill_recorded,
    holes,
    suggest_from,
)
from longhaul.spec.loading import read_text


def tree_of(text: str):
    return read_holes(read_text(text, "f.yaml"))


def refusal(text: str) -> str:
    with pytest.raises(RequestError) as caught:
        tree_of(text)
    return str(caught.value)


BRANCHES = """
size: {int: [4, 8]}
cell:
  choice:
    - {name: a, ratio: {loguniform: [0.01, 1]}, kind: {choice: [x, 2, null, true]}}
    - name: b
      inner:
        choice:
          - {name: p, depth: {logint: [1, 64]}}
          - {name: q}
last: {uniform: [0, 3]}
"""


@pytest.mark.parametrize(
    ("text", "hole", "distribution"),
    [
        ("{uniform: [0, 3]}", Uniform(0.0, 3.0), FloatDistribution(0.0, 3.0)),
        ("{uniform: [-1.5, 2]}", Uniform(-1.5, 2.0), FloatDistribution(-1.5, 2.0)),
        (
            "{loguniform: [1e-4, 1e-2]}",
            LogUniform(1e-4, 1e-2),
            FloatDistribution(1e-4, 1e-2, log=True),
        ),
        ("{int: [-2, 5]}", Int(-2, 5), IntDistribution(-2, 5)),
        ("{logint: [1, 512]}", LogInt(1, 512), IntDistribution(1, 512, log=True)),
        (
            "{choice: [a, 1, 2.5, null, false]}",
            Choice(("a", 1, 2.5, None, False)),
            CategoricalDistribution(["a", 1, 2.5, None, False]),
        ),
        (
            "{choice: [{name: a}, {name: b}]}",
            Choice(({"name": "a"}, {"name": "b"})),
            CategoricalDistribution(["a", "b"]),
        ),
    ],
)
def test_a_hole_is_read_and_is_an_optuna_distribution(text, hole, distribution):
    found = tree_of(f"key: {text}")["key"]
    assert found == hole
    assert found.distribution() == distribution
    assert read_holes(Document("f", {"key": found.dump()}, {}))["key"] == hole


@pytest.mark.parametrize(
    ("options", "labels"),
    [
        ("[{name: a, x: 1}, {name: b}]", ["a", "b"]),
        ("[{name: a, x: 1}, {name: a, x: 2}]", ["0", "1"]),
        ("[{name: a}, {x: 2}]", ["0", "1"]),
        ("[{x: 1}, {x: 2}]", ["0", "1"]),
        ("[{name: 1}, {name: 2}]", ["0", "1"]),
        ("[{name: only}]", ["only"]),
        ("[a, b]", None),
        ("[null, 1]", None),
    ],
)
def test_branches_are_called_by_their_names_if_these_tell_them_apart(options, labels):
    assert tree_of(f"key: {{choice: {options}}}")["key"].labels == labels


@pytest.mark.parametrize(
    ("hole", "line", "found", "expected"),
    [
        ("{choice: []}", 2, "found an empty list", "expected a list of options"),
        ("{choice: 3}", 2, "found 3", "expected a list of options"),
        ("{choice: {a: 1}}", 2, "found {'a': 1}", "expected a list of options"),
        ("{choice: [a, b, a]}", 2, "the option 'a' twice", "expected options that differ"),
        ("{choice: [1, 1.0]}", 2, "the option 1.0 twice", "expected options that differ"),
        ("{choice: [1, true]}", 2, "the option True twice", "expected options that differ"),
        ("{choice: [{x: 1}, {x: 1}]}", 2, "twice", "expected options that differ"),
        ("{choice: [[1], [2]]}", 2, "found the list [1]", "expected a value or a mapping"),
        ("{choice: [a, {name: b}]}", 2, "mappings and plain values", "expected either"),
        (
            "{choice: [{int: [1, 2]}, {int: [3, 4]}]}",
            2,
            "found a hole as an option",
            "in which a key",
        ),
        ("\n  choice:\n  - a\n  - b\n  - a", 6, "the option 'a' twice", "expected options that"),
        ("{uniform: [1, 1]}", 2, "found [1, 1]", "expected uniform: [low, high] with low < high"),
        ("{uniform: [3, 0]}", 2, "found [3, 0]", "with low < high"),
        ("{int: [9, 2]}", 2, "found [9, 2]", "expected int: [low, high] with low < high"),
        ("{loguniform: [0, 1]}", 2, "the lower bound 0", "above 0"),
        ("{loguniform: [-1, 1]}", 2, "the lower bound -1", "above 0"),
        ("{logint: [0, 8]}", 2, "the lower bound 0", "above 0"),
        ("{uniform: [1]}", 2, "found 1 bounds", "expected uniform: [low, high]"),
        ("{uniform: [1, 2, 3]}", 2, "found 3 bounds", "expected uniform: [low, high]"),
        ("{int: 3}", 2, "found 3", "expected int: [low, high]"),
        ("{int: null}", 2, "found None", "expected int: [low, high]"),
        ("{uniform: [a, 1]}", 2, "found the bound 'a'", "with numbers"),
        ("{uniform: [false, 1]}", 2, "found the bound False", "with numbers"),
        ("{int: [1, true]}", 2, "found the bound True", "with whole numbers"),
        ("{int: [1.0, 2]}", 2, "found the bound 1.0", "with whole numbers"),
        ("{logint: [1, 2.5]}", 2, "found the bound 2.5", "with whole numbers"),
        ("{uniform: [null, 1]}", 2, "found the bound None", "with numbers"),
        ("{uniform: [-1e308, 1e308]}", 2, "found [-1e+308, 1e+308]", "with low < high"),
        ("{uniform: [0, 1], log: true}", 2, "the keys 'uniform', 'log'", "has one key"),
        ("{uniform: [0, 1], int: [0, 1]}", 2, "the keys 'uniform', 'int'", "has one key"),
        ("{uniforms: [0, 1]}", 2, "a list under 'uniforms'", "did you mean 'uniform'?"),
        ("[1, 2]", 2, "found a list", "expected one value or a hole"),
    ],
)
def test_what_cannot_be_a_hole_is_refused(hole, line, found, expected):
    message = refusal(f"a: 1\nkey: {hole}")
    assert message.startswith(f"f.yaml:{line}: key")
    assert found in message
    assert expected in message


def test_an_error_inside_a_branch_names_the_branch():
    message = refusal("cell:\n  choice:\n  - {name: a}\n  - name: b\n    x: {int: [2, 1]}")
    assert message.startswith("f.yaml:5: cell.b.x: found [2, 1]; expected int")


def test_all_holes_are_listed_with_what_they_depend_on():
    found = [(one.name, one.hole.kind, one.condition) for one in holes(tree_of(BRANCHES))]
    in_a, in_b = ("cell", "a"), ("cell", "b")
    assert found == [
        ("size", "int", ()),
        ("cell", "choice", ()),
        ("cell.a.ratio", "loguniform", (in_a,)),
        ("cell.a.kind", "choice", (in_a,)),
        ("cell.b.inner", "choice", (in_b,)),
        ("cell.b.inner.p.depth", "logint", (in_b, ("cell.b.inner", "p"))),
        ("last", "uniform", ()),
    ]


@pytest.mark.parametrize(
    ("answers", "asked", "config"),
    [
        (
            {"size": 4, "cell": "a", "cell.a.ratio": 0.5, "cell.a.kind": None, "last": 1.0},
            ["size", "cell", "cell.a.ratio", "cell.a.kind", "last"],
            {"size": 4, "cell": {"name": "a", "ratio": 0.5, "kind": None}, "last": 1.0},
        ),
        (
            {"size": 8, "cell": "b", "cell.b.inner": "q", "last": 0.0},
            ["size", "cell", "cell.b.inner", "last"],
            {"size": 8, "cell": {"name": "b", "inner": {"name": "q"}}, "last": 0.0},
        ),
    ],
)
def test_only_the_chosen_branch_is_asked_in_the_files_order(answers, asked, config):
    calls = []

    def suggest(name, hole):
        calls.append(name)
        return answers[name]

    tree = tree_of(BRANCHES)
    assert fill(tree, suggest) == config
    assert calls == asked
    assert fill_recorded(tree, answers) == config


@pytest.mark.parametrize("answer", [9, 3, 4.5, True, "4", None])
def test_an_answer_outside_the_hole_is_refused(answer):
    with pytest.raises(ValueError, match=r"size: .* is not in int \[4, 8\]"):
        fill(tree_of("size: {int: [4, 8]}"), lambda name, hole: answer)


def test_an_answer_of_another_type_is_no_option():
    with pytest.raises(ValueError, match="is not in choice"):
        fill(tree_of("key: {choice: [1, 2]}"), lambda name, hole: True)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "size: not among the recorded parameters"),
        ({"size": 99}, "size: recorded as 99, which int [4, 8] does not contain"),
        ({"size": 5, "gone": 1}, "gone: recorded, but no hole of the space"),
    ],
)
def test_parameters_of_another_space_are_refused(params, message):
    with pytest.raises(LonghaulError) as caught:
        fill_recorded(tree_of("size: {int: [4, 8]}"), params)
    assert str(caught.value) == f"{message}; the space has changed"
    assert caught.value.exit_status == 1


def test_optuna_fills_a_tree_define_by_run():
    tree = tree_of(BRANCHES)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    known = {one.name: one.hole.distribution() for one in holes(tree)}
    labels = set()
    for _ in range(20):
        trial = study.ask()
        config = fill(tree, suggest_from(trial))
        assert fill_recorded(tree, trial.params) == config
        assert trial.distributions == {name: known[name] for name in trial.params}
        labels.add(trial.params["cell"])
    assert labels == {"a", "b"}


def test_a_huge_number_of_combinations_costs_nothing():
    text = "\n".join(f"k{i}: {{choice: [{', '.join('abcdefgh')}]}}" for i in range(200))
    tree = tree_of(text)
    assert len(list(holes(tree))) == 200
    assert len(fill(tree, lambda name, hole: hole.answers[-1])) == 200


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("{loguniform: [1e-4, 1e-2]}", "loguniform [0.0001, 0.01]"),
        ("{choice: [a, null, true, 1.5]}", "choice [a, null, true, 1.5]"),
        ("{choice: [{name: a}, {name: b}]}", "choice [a, b]"),
        (
            f"{{choice: {list(range(30))}}}",
            "choice [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ... 20 more]",
        ),
    ],
)
def test_holes_are_described_in_a_line(text, line):
    assert describe_hole(tree_of(f"key: {text}")["key"]) == line


def test_a_tree_is_dumped_as_it_was_written():
    written = read_text(BRANCHES, "f").value
    assert dump_tree(tree_of(BRANCHES)) == written
