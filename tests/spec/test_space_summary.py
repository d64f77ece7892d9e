"""What a search over a space amounts to."""

import pytest

from longhaul.spec.search_spec import SearchSpec
from longhaul.spec.settings_table import first_sentence, setting_summaries
from longhaul.spec.summary import HoleSummary, SpaceSummary, expected_steps, summarise
from longhaul_trainers.cells.lstm import LSTM, LSTMSettings
from longhaul_trainers.cells.rnn import RNNSettings

SPACE = """\
task: {name: copying, delay: 100}
cell:
  choice:
    - {name: lstm, hidden_size: {int: [4, 8]}, forget_bias: {uniform: [0, 3]}}
    - {name: rnn, hidden_size: 8, nonlinearity: {choice: [tanh, modrelu]}}
training: {steps: 600, clip_norm: {choice: [null, 1]}}
search: {trials: 9, scheduler: {name: asha, grace_steps: 75, reduction_factor: 3}}
"""


def summary(*changes: str, text: str = SPACE) -> SpaceSummary:
    return summarise(SearchSpec.from_text(text, "my.yaml", changes))


def test_holes_with_their_ranges_and_conditions():
    assert summary().holes == [
        HoleSummary("cell", "choice", ["lstm", "rnn"], {}),
        HoleSummary("cell.lstm.hidden_size", "int", [4, 8], {"cell": "lstm"}),
        HoleSummary("cell.lstm.forget_bias", "uniform", [0.0, 3.0], {"cell": "lstm"}),
        HoleSummary("cell.rnn.nonlinearity", "choice", ["tanh", "modrelu"], {"cell": "rnn"}),
        HoleSummary("training.clip_norm", "choice", [None, 1], {}),
    ]


def test_the_task():
    task = summary().task
    assert (task.name, task.protocol) == ("copying", "arjovsky-2016")
    assert (task.length, task.input_size, task.output_size) == (120, 10, 9)
    assert task.baseline == pytest.approx(0.17329, abs=1e-5)


def test_parameters_of_each_branch_with_the_readout():
    def lstm(n):
        return 4 * n * (10 + n + 1) + 9 * n + 9

    # 9 classes; modReLU has one bias a unit
    rnn = 8 * 8 + 8 * 10 + 8 + 9 * 8 + 9
    found = [(one.cell, one.branch, one.smallest, one.largest) for one in summary().cells]
    assert found == [("lstm", "lstm", lstm(4), lstm(8)), ("rnn", "rnn", rnn, rnn + 8)]


def test_parameters_without_branches():
    found = summary("cell={name: gru, hidden_size: {choice: [9, 3, 5]}}").cells
    assert [(one.cell, one.branch) for one in found] == [("gru", None)]

    def gru(n):
        return 3 * n * (10 + n + 1) + n + 9 * n + 9

    assert (found[0].smallest, found[0].largest) == (gru(3), gru(9))


def test_branches_without_names():
    found = summary("cell={choice: [{name: rnn, hidden_size: 2}, {name: rnn, hidden_size: 3}]}")
    assert [(one.cell, one.branch) for one in found.cells] == [("rnn", "0"), ("rnn", "1")]
    assert found.cells[0].largest < found.cells[1].smallest


def test_steps():
    found = summary()
    assert found.rungs == [75, 225, 600]
    assert found.most_steps == 9 * 600
    # all stop at 75 but the first
    assert found.least_steps == 8 * 75 + 600
    # 9 to 75, 3 to 225, 1 to 600
    assert found.expected_steps == 9 * 75 + 3 * 150 + 1 * 375


def test_steps_without_stopping():
    found = summary("search.scheduler=full")
    assert found.rungs == [600]
    assert found.most_steps == found.least_steps == found.expected_steps == 5400


@pytest.mark.parametrize(
    ("rungs", "trials", "factor", "steps"),
    [([10], 4, 3, 40), ([10, 30], 1, 3, 30), ([10, 30], 2, 3, 40), ([1, 2, 4], 8, 2, 16)],
)
def test_expected_steps(rungs, trials, factor, steps):
    assert expected_steps(rungs, trials, factor) == steps


def test_counts_look_into_every_branch_of_a_component():
    """The largest matrix comes first and has no hole of its own, the smallest last has several."""
    text = """
task: copying
cell:
  name: elman
  hidden_size: 100
  bias: false
  matrix:
    choice:
      - {name: free}
      - {name: exponential, skew_init: {choice: [henaff, cayley]}}
      - {name: householder, reflections: {choice: [2, 4]}}
"""
    (cell,) = summarise(SearchSpec.from_text(text, "my.yaml")).cells
    others = 100 * 10 + 101 * 9
    assert (cell.smallest, cell.largest) == (199 + others, 100 * 100 + others)


def test_the_resolved_space_is_the_one_that_would_be_recorded():
    found = summary()
    spec = SearchSpec.from_text(SPACE, "my.yaml")
    assert found.sha256 == spec.sha256
    assert found.resolved["cell"]["choice"][1]["recurrent_init"] == "orthogonal"
    assert found.resolved["training"]["clip_norm"] == {"choice": [None, 1]}


def test_settings_are_described():
    found = {one.key: one for one in setting_summaries(LSTMSettings)}
    size, init, most = found["hidden_size"], found["forget_init"], found["chrono_max"]
    assert (size.type, size.range, size.default, size.structural) == (
        "whole number",
        ">= 1",
        128,
        True,
    )
    assert (init.type, init.range, init.default_text()) == (
        "one of",
        "constant, chrono, uniform",
        "constant",
    )
    assert (most.type, most.optional, most.default_text()) == ("whole number", True, "null")
    assert all(one.help and not one.required for one in found.values())
    phi = {one.key: one for one in setting_summaries(RNNSettings)}["nonlinearity"]
    assert (phi.type, phi.default, phi.default_text()) == ("nonlinearity", {"name": "tanh"}, "tanh")
    assert "modrelu" in phi.range


def test_a_class_is_described_by_its_first_sentence():
    class Nameless:
        pass

    assert first_sentence(LSTM).startswith("Long short-term memory")
    assert first_sentence(Nameless) == ""
