"""The resolved spec: what it holds, writes, hashes and hands to a trial."""

import hashlib
import json
from pathlib import Path

import pytest
import yaml

from longhaul.errors import LonghaulError, RequestError
from longhaul.spec.holes import Choice, LogUniform, Uniform
from longhaul.spec.names import validate_name
from longhaul.spec.search_settings import ASHASettings, TPESettings
from longhaul.spec.search_spec import SearchSpec
from longhaul_trainers.seeds import derive_seed
from longhaul_trainers.training.settings import TrialConfig

SPACE = """\
description: "yes"
task: copying
cell:
  choice:
    - {name: exprnn, learning_rate_ratio: {loguniform: [0.03, 0.3]}, hidden_size: 8}
    - {name: lstm, hidden_size: 8, forget_bias: {uniform: [0, 3]}}
training:
  optimizer: {name: rmsprop, learning_rate: {loguniform: [3e-4, 1e-2]}, alpha: 0}
search: {trials: 3, seed: 7}
"""


def spec(text: str = SPACE, *changes: str) -> SearchSpec:
    return SearchSpec.from_text(text, "here/my-space.yaml", changes)


def first(name, hole):
    return hole.representatives[0]


def test_what_is_read():
    found = spec()
    assert (found.name, found.description) == ("my-space", "yes")
    assert found.search.trials == 3
    assert found.search.sampler == TPESettings()
    assert found.search.scheduler == ASHASettings()
    assert found.resources.cpus == 1.0
    assert found.source == "here/my-space.yaml"


def test_every_default_is_written_out():
    tree = spec().tree
    assert tree["task"] == {"name": "copying", "protocol": "arjovsky-2016", "delay": 100}
    assert tree["training"]["steps"] == 20_000  # the protocol's
    assert tree["training"]["batch_size"] == 20
    assert tree["training"]["optimizer"] == {
        "name": "rmsprop",
        "learning_rate": LogUniform(3e-4, 1e-2),
        "alpha": 0.0,
        "weight_decay": 0.0,
        "eps": 1e-8,
    }
    exprnn, lstm = tree["cell"].options
    assert exprnn["nonlinearity"]["name"] == "modrelu"
    assert exprnn["skew_init"] == "henaff"
    assert lstm["forget_bias"] == Uniform(0.0, 3.0)


def test_given_keys_keep_their_order():
    names = [found.name for found in spec().holes()]
    assert names == [
        "cell",
        "cell.exprnn.learning_rate_ratio",
        "cell.lstm.forget_bias",
        "training.optimizer.learning_rate",
    ]
    assert list(spec().tree["cell"].options[0])[:3] == [
        "name",
        "learning_rate_ratio",
        "hidden_size",
    ]


def test_a_choice_among_names_is_a_choice_among_components():
    text = SPACE.replace(
        "hidden_size: 8}\n    -", "nonlinearity: {choice: [relu, modrelu]}}\n    -"
    )
    hole = next(one.hole for one in spec(text).holes() if one.name.endswith("nonlinearity"))
    assert hole.labels == ["relu", "modrelu"]
    assert hole.options[1]["name"] == "modrelu"
    assert "offset" in hole.options[1]
    as_mappings = text.replace("[relu, modrelu]", "[{name: relu}, {name: modrelu}]")
    assert spec(as_mappings) == spec(text)


@pytest.mark.parametrize(
    "text",
    [
        SPACE,
        SPACE.replace("task: copying", "task: {name: adding, protocol: bai-2018, length: 50}"),
        SPACE.replace("search:", "resources: {gpus: 0.25}\nsearch:"),
        SPACE.replace('"yes"', "'1e-3'"),
        SPACE.replace('"yes"', '"a: \\"b\\"\\n  # c \\u0085 \\x07 é\\n"'),
        SPACE.replace('description: "yes"\n', ""),
        SPACE.replace('"yes"', "null"),
        "task: adding\ncell: {choice: [lstm, gru]}\n",
        "task: adding\ncell: gru\ntraining:\nsearch:\nresources:\n",
        "task: adding\ncell: gru\ntraining: {choice: [{batch_size: 1}, {clip_norm: 1}]}\n",
        "task: adding\ncell: gru\ntraining: {optimizer: {choice: [{name: adam}, {name: sgd}]}}\n",
        "task: adding\ncell: {name: gru, hidden_size: {logint: [1, 64]}}\n",
    ],
)
def test_the_written_spec_is_read_as_an_equal_one(text):
    found = spec(text)
    written = found.to_yaml()
    again = SearchSpec.from_text(written, "elsewhere.yaml")
    assert again == found
    assert again.to_yaml() == written
    assert again.sha256 == found.sha256
    assert [one.name for one in again.holes()] == [one.name for one in found.holes()]
    # other tools read it alike
    assert yaml.safe_load(written)["description"] == found.description


def test_two_writings_of_one_space_are_equal():
    other = """\
search: {seed: 7, trials: 3, sampler: {name: tpe, startup_trials: 10}}
training: {optimizer: {name: rmsprop, learning_rate: {loguniform: [0.0003, 0.01]}, alpha: 0.0}}
cell:
  choice:
  - name: exprnn
    learning_rate_ratio: {loguniform: [3.0e-2, 0.3]}
    skew_init: henaff
    hidden_size: 8
  - {name: lstm, hidden_size: 8, forget_bias: {uniform: [0.0, 3.0]}}
task: {name: copying}
description: 'yes'
"""
    assert spec(other) == spec()
    assert spec(other).sha256 == spec().sha256


@pytest.mark.parametrize(
    "changes",
    [
        ["task.delay=200"],
        ["cell.lstm.forget_bias={uniform: [0, 4]}"],
        ["cell.lstm.hidden_size=9"],
        ["training.steps=5"],
        ["search.seed=8"],
        ["search.sampler=random"],
        ["search.scheduler.reduction_factor=4"],
    ],
)
def test_the_hash_changes_with_what_is_tried(changes):
    assert spec(SPACE, *changes).sha256 != spec().sha256


@pytest.mark.parametrize(
    "change",
    [
        "search.trials=99",
        "search.parallel=2",
        "search.max_failed_trials=1",
        "search.retries=0",
        "search.checkpoint_every_s=5",
        "search.report_deadline_s=60",
        "resources.cpus=2",
        "description=other",
        "name=other",
    ],
)
def test_the_hash_stays_where_a_resumed_search_may_differ(change):
    assert spec(SPACE, change).sha256 == spec().sha256


def test_the_hash_depends_on_the_order_of_the_holes():
    # a seeded sampler answers in that order
    ratio, size = "learning_rate_ratio: {loguniform: [0.03, 0.3]}", "hidden_size: {int: [4, 8]}"
    text = SPACE.replace("learning_rate_ratio: {loguniform: [0.03, 0.3]}, hidden_size: 8", "HERE")
    one, other = (
        spec(text.replace("HERE", two)) for two in (f"{ratio}, {size}", f"{size}, {ratio}")
    )
    assert one.tree == other.tree
    assert one.sha256 != other.sha256


def test_the_hash_is_that_of_canonical_json():
    # from what is written, by another route than the program's
    written = yaml.safe_load(spec().to_yaml())
    defines = {
        "holes": [found.name for found in spec().holes()],
        "sampler": written["search"]["sampler"],
        "scheduler": written["search"]["scheduler"],
        "seed": 7,
        "tree": {key: written[key] for key in ("cell", "task", "training")},
    }
    text = json.dumps(defines, sort_keys=True, separators=(",", ":"))
    assert spec().sha256 == hashlib.sha256(text.encode()).hexdigest()


def test_a_trial_is_a_configuration_with_its_own_seed():
    found = spec()
    config = found.trial(first, 5)
    assert config["seed"] == derive_seed(7, "trial", 5)
    assert config["seed"] != found.trial(first, 6)["seed"]
    parsed = TrialConfig.parse(config)
    assert parsed.dump() == config
    assert json.loads(json.dumps(config)) == config
    assert (parsed.cell.name, parsed.training.steps) == ("exprnn", 20_000)


def test_a_trial_comes_back_from_its_parameters():
    found = spec()
    params = {
        "cell": "lstm",
        "cell.lstm.forget_bias": 1.5,
        "training.optimizer.learning_rate": 1e-3,
    }
    config = found.recorded_trial(params, 2)
    assert config["cell"]["forget_bias"] == 1.5
    assert config == found.trial(lambda name, hole: params[name], 2)
    with pytest.raises(LonghaulError, match="the space has changed"):
        found.recorded_trial(params | {"cell": "gru"}, 2)


def test_rungs_follow_from_the_steps():
    assert spec().rungs() == [2223, 6669, 20000]
    assert spec(SPACE, "search.scheduler=full").rungs() == [20000]


@pytest.mark.parametrize("name", ["a", "0", "copying-quickstart", "a.b_c-d", "x" * 63, "a.", "a-"])
def test_names(name):
    assert validate_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "", ".", "..", "a..b", "a/b", "a\\b", "/a", "-a", "_a", ".a", "A", "a b", "a\n", "a\x00",
        "é", "аbc", "x" * 64, "a:b", "~", "a*", "%2e", "a\u202eb", None, 3, True,
    ],
)  # fmt: skip
def test_names_that_could_leave_their_folder_or_look_like_others(name):
    with pytest.raises(RequestError, match=r"--name: found .*; expected 1 to 63 of a-z") as caught:
        validate_name(name)
    assert "\n" not in str(caught.value)


def test_a_name_given_wins_over_the_files(tmp_path: Path):
    file = tmp_path / "Not A Name.yaml"
    file.write_text(SPACE, encoding="utf-8")
    assert SearchSpec.load(str(file), name="chosen").name == "chosen"
    with pytest.raises(RequestError, match="'Not A Name' cannot be the name of a search; rename"):
        SearchSpec.load(str(file))
    file.write_text(SPACE + "name: written\n", encoding="utf-8")
    assert SearchSpec.load(str(file)).name == "written"
    assert SearchSpec.load(str(file), name="chosen").name == "chosen"
    with pytest.raises(RequestError, match=r"--name: found '\.\./x'"):
        SearchSpec.load(str(file), name="../x")


def test_a_spec_can_be_told_from_another():
    assert spec() != spec(SPACE, "search.trials=4")
    assert isinstance(spec().tree["cell"], Choice)
