"""--set PATH=VALUE."""

import pytest

from longhaul.errors import RequestError
from longhaul.spec.holes import Choice, Int, LogUniform, Uniform
from longhaul.spec.search_settings import CMAESSettings, FullSettings
from longhaul.spec.search_spec import SearchSpec

SPACE = """\
task: {name: copying, delay: 100}
cell:
  choice:
    - {name: exprnn, hidden_size: 16}
    - {name: lstm, hidden_size: 16, forget_bias: {uniform: [0, 3]}}
training: {steps: 100}
"""


def spec(*changes: str, text: str = SPACE) -> SearchSpec:
    return SearchSpec.from_text(text, "my.yaml", changes)


def refusal(*changes: str, text: str = SPACE) -> str:
    with pytest.raises(RequestError) as caught:
        spec(*changes, text=text)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def at(found: SearchSpec, path: str):
    node = found.tree
    for key in path.split("."):
        node = node.value(key) if isinstance(node, Choice) else node[key]
    return node


@pytest.mark.parametrize(
    ("change", "path", "value"),
    [
        ("training.steps=7", "training.steps", 7),
        ("training.optimizer.learning_rate=1e-4", "training.optimizer.learning_rate", 1e-4),
        ("training.optimizer=sgd", "training.optimizer.name", "sgd"),
        ("training.clip_norm={choice: [null, 1]}", "training.clip_norm", Choice((None, 1))),
        ("cell.exprnn.hidden_size=64", "cell.exprnn.hidden_size", 64),
        ("cell.lstm.forget_bias={uniform: [1, 2]}", "cell.lstm.forget_bias", Uniform(1.0, 2.0)),
        ("cell.lstm.forget_bias=2", "cell.lstm.forget_bias", 2.0),
        ("cell.exprnn.hidden_size={int: [8, 16]}", "cell.exprnn.hidden_size", Int(8, 16)),
        ("cell.exprnn.nonlinearity=relu", "cell.exprnn.nonlinearity", {"name": "relu"}),
        (" task.delay = 200", "task.delay", 200),
        ("task.protocol=keller-2024", "task.protocol", "keller-2024"),
        ("task={name: adding, length: 50}", "task.length", 50),
        ("cell.exprnn={name: rnn}", "cell.rnn.name", "rnn"),
        ("cell={name: gru, hidden_size: 3}", "cell.hidden_size", 3),
        ("cell=gru", "cell.name", "gru"),
        (
            "cell.exprnn.learning_rate_ratio={loguniform: [1e-2, 1]}",
            "cell.exprnn.learning_rate_ratio",
            LogUniform(0.01, 1.0),
        ),
    ],
)
def test_a_leaf_or_a_whole_part_is_changed(change, path, value):
    found = at(spec(change), path)
    assert found == value
    assert type(found) is type(value)


def test_only_the_named_branch_changes():
    found = spec("cell.exprnn.hidden_size=64")
    assert at(found, "cell.lstm.hidden_size") == 16


def test_settings_of_the_search_change_too():
    found = spec("search.trials=3", "resources.gpus=0.5", "description=new words", "name=other")
    assert (found.search.trials, found.resources.gpus) == (3, 0.5)
    assert (found.description, found.name) == ("new words", "other")


def test_a_default_that_the_file_leaves_out_keeps_its_name():
    found = spec("search.scheduler.grace_steps=10", "training.optimizer.alpha=0.5")
    assert found.rungs() == [10, 30, 90, 100]
    assert at(found, "training.optimizer") == {
        "name": "rmsprop",
        "alpha": 0.5,
        "learning_rate": 1e-3,
        "weight_decay": 0.0,
        "eps": 1e-8,
    }


def test_a_name_alone_can_be_given_keys():
    text = SPACE + "search: {sampler: cmaes, scheduler: full}\n"
    found = spec("search.sampler.sigma0=0.2", text=text).search
    assert found.sampler == CMAESSettings(sigma0=0.2)
    assert found.scheduler == FullSettings()


def test_the_last_one_wins_and_each_sees_the_one_before():
    assert spec("training.steps=3", "training.steps=4").max_steps == 4
    found = spec("cell={name: rnn}", "cell.hidden_size=5")
    assert at(found, "cell.hidden_size") == 5


def test_the_same_as_writing_it_into_the_file():
    written = SPACE.replace("{steps: 100}", "{steps: 50}")
    assert spec("training.steps=50") == spec(text=written)
    assert spec("training.steps=50").sha256 == spec(text=written).sha256


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("training.steps", "--set 'training.steps': expected PATH=VALUE, for example "),
        ("=3", "--set '=3': expected PATH=VALUE"),
        ("a..b=3", "--set 'a..b=3': expected PATH=VALUE"),
        ("training.steps=", "--set training.steps: found no value; expected PATH=VALUE, null for"),
        ("training.steps=[1", "--set training.steps: not valid YAML: "),
        ("training.steps=!!int 1", "--set training.steps: found the tag"),
        ("training.steps=.nan", "--set training.steps: found .nan; expected a finite"),
        ("training.steps=0", "--set training.steps: expected a number >= 1, found 0"),
        ("training.steps={int: [1, 2]}", "--set training.steps: found the hole int [1, 2]"),
        ("training.stepps=1", "--set training.stepps: unknown key 'stepps'; did you mean 'steps'?"),
        (
            "training.optimiser.alpha=1",
            "--set training.optimiser.alpha: training.optimiser: unknown key 'optimiser'; did you "
            "mean 'optimizer'?",
        ),
        ("trainig.steps=1", "--set trainig.steps: trainig: unknown key 'trainig'; did you mean"),
        ("cell.exprnn.hiddensize=1", "--set cell.exprnn.hiddensize: unknown key"),
        ("cell.exprnn.hidden_size=x", "--set cell.exprnn.hidden_size: expected a whole number"),
        (
            "cell.exprn.hidden_size=1",
            "--set cell.exprn.hidden_size: cell is a choice among branches and has none called "
            "'exprn'; did you mean 'exprnn'? Known: exprnn, lstm; write cell.exprnn.KEY",
        ),
        ("cell.hidden_size=1", "--set cell.hidden_size: cell is a choice among branches and has"),
        (
            "cell.lstm.forget_bias.low=1",
            "--set cell.lstm.forget_bias.low: cell.lstm.forget_bias is {'uniform': [0, 3]}, which "
            "has no keys; change it whole",
        ),
        ("task.delay.x=1", "--set task.delay.x: task.delay is 100, which has no keys"),
        ("search.trials=0", "--set search.trials: expected a number >= 1"),
        ("search.sampler.warmup=1", "--set search.sampler.warmup: unknown key"),
        ("task.name=adding", "my.yaml:1: task.delay: unknown key 'delay'"),
        ("description.x=1", "--set description.x: description: found {'x': 1}"),
    ],
)
def test_a_mistake_names_the_option(change, message):
    assert refusal(change).startswith(message)


def test_a_mistake_elsewhere_keeps_its_line():
    text = SPACE.replace("forget_bias", "forgetbias")
    assert refusal("training.steps=5", text=text).startswith("my.yaml:5: cell.lstm.forgetbias: ")


def test_what_replaces_a_part_of_the_file_is_not_blamed_on_the_file():
    branches = "{choice: [{name: exprnn, hidden_size: 0}, {name: lstm}]}"
    assert refusal(f"cell={branches}").startswith("--set cell: cell.exprnn.hidden_size: expected")
    text = SPACE + "description: words\n"
    message = refusal("description.x=1", text=text)
    assert message.startswith("--set description.x: description: found {'name': 'words', 'x': 1}")


def test_a_choice_among_values_has_no_keys():
    text = SPACE.replace("{uniform: [0, 3]}", "{choice: [0, 1]}")
    message = refusal("cell.lstm.forget_bias.0=3", text=text)
    assert "is a choice among values, which have no keys; change it whole" in message


def test_a_bomb_is_refused_here_too():
    bomb = "[&a [x,x,x,x,x,x,x,x,x,x], &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]"
    bomb += ", &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b], [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]]"
    assert refusal(f"cell={bomb}").startswith("--set cell: more than 10,000 values")
