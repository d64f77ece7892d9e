"""What ``longhaul check`` and ``longhaul show`` say of sizes and of enqueued points."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from longhaul.cli.main import main

SPACE = """\
task: {name: copying, delay: 5}
cell:
  choice:
    - {name: lstm, parameters: 19000}
    - {name: gru, parameters: {int: [1000, 20000]}}
training: {optimizer: {name: adam, learning_rate: {loguniform: [1e-4, 1e-1]}}}
search: {trials: 2, enqueue: POINTS}
"""


@pytest.fixture
def check(tmp_path: Path):
    def call(*words: str, points: str = "[]", status: int = 0) -> str:
        file = tmp_path / "space.yaml"
        file.write_text(SPACE.replace("POINTS", points), "utf-8")
        result = CliRunner().invoke(main, ["check", str(file), *words])
        assert result.exit_code == status, result.output
        return result.stdout if status == 0 else result.stderr

    return call


def test_sizes_and_counts_of_each_cell(check):
    found = {one["cell"]: one for one in json.loads(check("--json"))["cells"]}
    lstm, gru = found["lstm"], found["gru"]
    assert lstm["smallest_hidden_size"] == lstm["largest_hidden_size"] == 63
    assert lstm["smallest"] == lstm["largest"] == 4 * 63 * (10 + 63 + 1) + 63 * 9 + 9
    assert (gru["smallest_hidden_size"], gru["largest_hidden_size"]) == (12, 75)
    rows = [line.split() for line in check().splitlines()]
    assert ["cell", "hidden", "size", "parameters"] in rows
    assert ["lstm", "63", "19,224"] in rows
    assert ["gru", "12", "to", "75", f"{gru['smallest']:,}", "to", f"{gru['largest']:,}"] in rows


@pytest.mark.parametrize(
    ("points", "said"),
    [
        ("[{cell: gru}]", "1 enqueued point is tried, before the sampler decides\n"),
        (
            "[{cell: gru}, {cell: lstm}]",
            "2 enqueued points are tried, before the sampler decides\n",
        ),
        ("[{cell: gru}, {cell: lstm}, {cell: gru}]", "decides, as far as 2 trials reach\n"),
    ],
)
def test_how_many_points_are_tried_first(check, points, said):
    assert said in check(points=points)
    assert json.loads(check("--json", points=points))["enqueued"] == points.count("cell:")


@pytest.mark.parametrize(
    ("resources", "slots", "said"),
    [
        ({}, 1, None),
        ({"slots": 1}, 1, None),
        ({"slots": 16}, 16, "up to 16 trials"),
        ({"slots": "auto"}, 1, None),
        ({"slots": "auto", "gpus": 1}, "auto", "as many trials as pay"),
    ],
)
def test_how_many_trials_train_as_one_batch(check, resources, slots, said):
    words = [w for k, v in resources.items() for w in ("--set", f"resources.{k}={v}")]
    assert json.loads(check("--json", *words))["slots"] == slots
    shown = check(*words)
    assert (said in shown) if said else ("one batch" not in shown)


def test_slots_are_a_number_or_auto(check):
    message = check("--set", "resources.slots=many", status=2)
    assert "resources.slots" in message
    assert "a whole number or auto" in message


def test_without_points_nothing_is_said_of_them(check):
    assert "enqueued" not in check()
    assert json.loads(check("--json"))["enqueued"] == 0


def test_what_is_wrong_with_a_point_or_a_size_is_one_line(check):
    wrong = check(points="[{training.optimizer.learning_rate: 2}]", status=2)
    assert wrong.count("\n") == 1
    assert (
        "space.yaml:7: search.enqueue.0.training.optimizer.learning_rate: found 2, which" in wrong
    )
    wrong = check("--set", "cell.lstm.hidden_size=8", status=2)
    assert wrong.count("\n") == 1
    assert "cell.lstm.parameters: found 19000 beside hidden_size 8" in wrong
