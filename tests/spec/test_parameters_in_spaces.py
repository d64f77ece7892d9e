"""A cell's size as a number of parameters, in a space: fixed, in branches, as a hole."""

import math

import pytest

from longhaul.errors import RequestError
from longhaul.spec.holes import Choice, Int
from longhaul.spec.search_spec import SearchSpec
from longhaul.spec.summary import summarise
from longhaul_trainers.training.settings import TrialConfig

SPACE = """\
task: {name: copying, delay: 5}
cell:
  choice:
    - {name: exprnn, parameters: 3000, nonlinearity: {choice: [relu, modrelu]}}
    - {name: lstm, parameters: {int: [1000, 20000]}, forget_bias: {uniform: [0, 3]}}
    - {name: gru, hidden_size: 8}
"""


def spec(text: str = SPACE, *changes: str) -> SearchSpec:
    return SearchSpec.from_text(text, "my.yaml", changes)


def single(cell: str, *changes: str) -> SearchSpec:
    return spec(f"task: {{name: copying, delay: 5}}\ncell: {cell}\n", *changes)


def answered(found: SearchSpec, **answers) -> dict:
    return found.trial(lambda name, hole: answers.get(name, hole.representatives[0]), 0)


def lstm(n: int) -> int:
    """10 inputs, 9 outputs."""
    return 4 * n * (10 + n + 1) + 9 * n + 9


def test_the_resolved_space_keeps_the_request_and_no_size_beside_it():
    exprnn, gated, plain = spec().tree["cell"].options
    assert exprnn["parameters"] == 3000
    assert gated["parameters"] == Int(1000, 20000)
    assert "hidden_size" not in exprnn
    assert "hidden_size" not in gated
    assert (plain["hidden_size"], plain["parameters"]) == (8, None)


@pytest.mark.parametrize(
    "text",
    [
        SPACE,
        "task: adding\ncell: {name: lstm, parameters: 5000}\n",
        "task: adding\ncell: {name: lstm, parameters: {choice: [500, 5000]}}\n",
        "task: adding\ncell: {name: lstm, parameters: {logint: [500, 5000]}}\n",
        "task: adding\ncell: {name: lstm, parameters: null, hidden_size: 3}\n",
        "task: adding\ncell: {name: lstm, parameters: 5000, hidden_size: null}\n",
    ],
)
def test_the_written_spec_is_read_as_an_equal_one(text):
    found = spec(text)
    written = found.to_yaml()
    again = SearchSpec.from_text(written, "elsewhere.yaml", name="my")
    assert again == found
    assert again.to_yaml() == written
    assert again.sha256 == found.sha256
    assert answered(again) == answered(found)


def test_a_trial_has_the_size_that_comes_nearest():
    sizes = range(1, 100)
    for wanted in (1000, 12_345, 20_000):
        config = answered(spec(), **{"cell": "lstm", "cell.lstm.parameters": wanted})
        size = min(sizes, key=lambda n: abs(lstm(n) - wanted))
        assert (config["cell"]["hidden_size"], config["cell"]["parameters"]) == (size, None)
        assert TrialConfig.parse(config).dump() == config
    # modReLU has a bias a unit, so it has fewer units for as many parameters
    relu, modrelu = (
        answered(spec(), **{"cell.exprnn.nonlinearity": one})["cell"]["hidden_size"]
        for one in ("relu", "modrelu")
    )
    assert relu > modrelu


def test_a_trial_comes_back_from_its_parameters():
    params = {"cell": "lstm", "cell.lstm.parameters": 5000, "cell.lstm.forget_bias": 1.5}
    config = spec().recorded_trial(params, 3)
    assert config == spec().trial(lambda name, hole: params[name], 3)
    assert abs(lstm(config["cell"]["hidden_size"]) - 5000) < 300


def test_a_summary_has_sizes_and_counts():
    found = {one.cell: one for one in summarise(spec()).cells}
    low, high = (answered(spec(), **{"cell": "lstm", "cell.lstm.parameters": n})
                 for n in (1000, 20000))  # fmt: skip
    gated = found["lstm"]
    sizes = [one["cell"]["hidden_size"] for one in (low, high)]
    assert [gated.smallest_hidden_size, gated.largest_hidden_size] == sizes
    assert [gated.smallest, gated.largest] == [lstm(n) for n in sizes]
    exprnn = found["exprnn"]
    # about as many parameters, with a bias a unit or without
    assert exprnn.smallest_hidden_size < exprnn.largest_hidden_size
    assert math.isclose(exprnn.smallest, exprnn.largest, rel_tol=0.03)
    gru = found["gru"]
    assert (gru.smallest_hidden_size, gru.largest_hidden_size) == (8, 8)


def test_sizes_without_a_request():
    (found,) = summarise(single("{name: lstm, hidden_size: {choice: [9, 3, 5]}}")).cells
    assert (found.smallest_hidden_size, found.largest_hidden_size) == (3, 9)
    assert (found.smallest, found.largest) == (lstm(3), lstm(9))


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (
            "{name: lstm, parameters: 5000, hidden_size: 64}",
            "my.yaml:2: cell.parameters: found 5000 beside hidden_size 64; expected one of the "
            "two: remove the other, or make it null",
        ),
        (
            "{choice: [{name: gru}, {name: lstm, parameters: 5000, hidden_size: {int: [4, 8]}}]}",
            "my.yaml:2: cell.lstm.parameters: found 5000 beside hidden_size 4",
        ),
        (
            "{name: lstm, parameters: {choice: [null, 5000]}, hidden_size: 64}",
            "cell.parameters: found 5000 beside hidden_size 64",
        ),
        (
            "{name: lstm, parameters: 65}",
            "my.yaml:2: cell.parameters: found 65, but the smallest model (hidden_size 1) has 66; "
            "expected at least that",
        ),
        (
            "{name: lstm, parameters: {int: [10, 5000]}}",
            "found 10, but the smallest model (hidden_size 1) has 66; expected at least that; "
            "int [10, 5000] reaches it",
        ),
        ("{name: lstm, parameters: 1e4}", "cell.parameters: expected a whole number, found float"),
        ("{name: lstm, parameter: 10000}", "did you mean 'parameters'?"),
        ("{name: lstm, hidden_size: null}", "cell.hidden_size: expected a whole number"),
    ],
)
def test_what_cannot_be_meant_is_refused(cell, message):
    with pytest.raises(RequestError) as caught:
        single(cell)
    assert message in str(caught.value)


def test_from_the_command_line():
    found = single("{name: lstm, hidden_size: 64}", "cell.parameters=5000", "cell.hidden_size=null")
    assert found == single("{name: lstm, parameters: 5000}")
    with pytest.raises(RequestError, match=r"^--set cell\.parameters: found 5000 beside"):
        single("{name: lstm, hidden_size: 64}", "cell.parameters=5000")


def test_a_number_of_parameters_is_part_of_the_hash():
    hashes = {single(f"{{name: lstm, parameters: {n}}}").sha256 for n in (5000, 5001)}
    assert len(hashes) == 2


def test_a_hole_next_to_null_means_the_default_size():
    found = single("{name: lstm, parameters: {choice: [null, 500]}}")
    assert found.tree["cell"]["parameters"] == Choice((None, 500))
    sizes = [
        TrialConfig.parse(answered(found, **{"cell.parameters": one})).cell.hidden_size
        for one in (None, 500)
    ]
    assert sizes[0] == 128
    assert sizes[1] < 20


def test_a_value_that_cannot_be_sized_leaves_the_trial_to_fail(monkeypatch):
    # in the middle of a hole, where no representative has been
    found = single("{name: lstm, parameters: {int: [66, 5000]}}")
    monkeypatch.setattr("longhaul_trainers.training.sizing._nearest", _refuse)
    config = answered(found, **{"cell.parameters": 70})
    assert config["cell"]["parameters"] == 70


def _refuse(*_):
    from longhaul_trainers.errors import SettingError

    raise SettingError("parameters", "found 70")
