"""Points to try first: what is read, written, refused."""

import json

import pytest
import yaml

from longhaul.errors import RequestError
from longhaul.spec.search_spec import SearchSpec
from longhaul.spec.summary import summarise
from longhaul_trainers.cells.lstm import LSTMSettings
from longhaul_trainers.errors import SettingError

SPACE = """\
task: {name: copying, delay: 5}
cell:
  choice:
    - name: exprnn
      learning_rate_ratio: {loguniform: [0.01, 1]}
      nonlinearity: {choice: [relu, modrelu]}
    - {name: lstm, hidden_size: {int: [4, 12]}, forget_bias: {uniform: [0, 3]}}
training:
  optimizer: {name: adam, learning_rate: {loguniform: [1e-4, 1e-1]}}
  clip_norm: {choice: [null, 1, 10]}
search:
  trials: 4
  enqueue: POINTS
"""


def spec(points: str, *changes: str) -> SearchSpec:
    return SearchSpec.from_text(SPACE.replace("POINTS", points), "my.yaml", changes)


def refusal(points: str, *changes: str) -> str:
    with pytest.raises(RequestError) as caught:
        spec(points, *changes)
    return str(caught.value)


def test_points_are_read_in_their_order():
    found = spec("""
    - {training.optimizer.learning_rate: 2e-4}
    - cell: lstm
      cell.lstm.hidden_size: 8
      cell.lstm.forget_bias: 1
    - {cell: exprnn, cell.exprnn.nonlinearity: modrelu, training.clip_norm: null}""")
    assert found.enqueue == (
        {"training.optimizer.learning_rate": 2e-4},
        {"cell": "lstm", "cell.lstm.hidden_size": 8, "cell.lstm.forget_bias": 1.0},
        {"cell": "exprnn", "cell.exprnn.nonlinearity": "modrelu", "training.clip_norm": None},
    )
    # As the hole would give it: text for text, they come back from JSON equal.
    kinds = [type(one) for one in found.enqueue[1].values()]
    assert kinds == [str, int, float]


@pytest.mark.parametrize("number", ["1e-3", "0.001", "1.0e-03", ".001", "1E-3"])
def test_a_number_is_one_in_every_writing(number):
    assert spec(f"[{{training.optimizer.learning_rate: {number}}}]").enqueue == (
        {"training.optimizer.learning_rate": 0.001},
    )


@pytest.mark.parametrize("number", ["8", "8.0", "8e0"])
def test_a_whole_number_may_be_written_as_any(number):
    (point,) = spec(f"[{{cell: lstm, cell.lstm.hidden_size: {number}}}]").enqueue
    assert repr(point["cell.lstm.hidden_size"]) == "8"


def test_an_option_is_the_one_of_the_choice():
    (point,) = spec("[{training.clip_norm: 10.0}]").enqueue
    assert repr(point["training.clip_norm"]) == "10"


@pytest.mark.parametrize("none", ["", "null", "[]"])
def test_no_points(none):
    found = spec(none)
    assert found.enqueue == ()
    assert "enqueue" not in found.to_yaml()
    bare = SearchSpec.from_text(SPACE.replace("  enqueue: POINTS\n", ""), "my.yaml")
    assert (found, found.sha256) == (bare, bare.sha256)


POINTS = """
    - {training.optimizer.learning_rate: 1e-4, training.clip_norm: null}
    - {cell: lstm, cell.lstm.forget_bias: 2.5e-7}"""


def test_the_written_spec_is_read_as_an_equal_one():
    found = spec(POINTS)
    written = found.to_yaml()
    again = SearchSpec.from_text(written, "elsewhere.yaml", name="my")
    assert again == found
    assert again.to_yaml() == written
    assert again.sha256 == found.sha256
    # other tools read numbers, not texts
    assert yaml.safe_load(written)["search"]["enqueue"] == json.loads(json.dumps(found.enqueue))


def test_what_is_tried_first_is_part_of_the_hash():
    hashes = {spec(one).sha256 for one in ("[]", POINTS, "[{training.clip_norm: 1}]")}
    assert len(hashes) == 3
    assert spec(POINTS) != spec("[]")


def test_points_from_the_command_line():
    change = "search.enqueue=[{training.optimizer.learning_rate: 2e-4, cell: lstm}]"
    expected = {"training.optimizer.learning_rate": 2e-4, "cell": "lstm"}
    assert spec("[]", change).enqueue == (expected,)
    assert spec(POINTS, "search.enqueue=null").enqueue == ()
    whole = "search={trials: 3, enqueue: [{cell: lstm}]}"
    assert spec("[]", whole).enqueue == ({"cell": "lstm"},)


@pytest.mark.parametrize(
    ("point", "message"),
    [
        (
            "{training.optimizer.learning_rte: 1e-3}",
            "my.yaml:14: search.enqueue.0.training.optimizer.learning_rte: no hole is called "
            "'training.optimizer.learning_rte'; did you mean 'training.optimizer.learning_rate'?",
        ),
        ("{task.delay: 5}", "no hole is called 'task.delay'; "),
        (
            "{training.optimizer.learning_rate: 0.5}",
            "learning_rate: found 0.5, which loguniform [0.0001, 0.1] does not contain",
        ),
        (
            "{training.optimizer.learning_rate: fast}",
            "found 'fast', which loguniform [0.0001, 0.1] does not contain",
        ),
        (
            "{training.optimizer.learning_rate: true}",
            "found true, which loguniform [0.0001, 0.1] does not contain",
        ),
        ("{training.clip_norm: 2}", "found 2, which choice [null, 1, 10] does not contain"),
        ("{training.clip_norm: true}", "found true, which choice [null, 1, 10] does not contain"),
        ("{cell: lsmt}", "found 'lsmt', which choice [exprnn, lstm] does not contain"),
        (
            "{cell: lstm, cell.lstm.hidden_size: 8.5}",
            "hidden_size: found 8.5, which int [4, 12] does not contain",
        ),
        (
            "{cell.lstm.forget_bias: 1}",
            "search.enqueue.0.cell.lstm.forget_bias: exists only where cell is lstm; expected "
            "the point to choose it, with cell: lstm",
        ),
        (
            "{cell: exprnn, cell.lstm.forget_bias: 1}",
            "cell.lstm.forget_bias: exists only where cell is lstm; expected the point to choose",
        ),
        ("{}", "search.enqueue.0: found {}; expected the names of holes with their values"),
        ("lstm", "search.enqueue.0: found 'lstm'; expected the names of holes"),
        ("{training: {clip_norm: 1}}", "no hole is called 'training'; did you mean"),
        ("{training.clip_norm: {choice: [1]}}", "which choice [null, 1, 10] does not contain"),
        ("{training.clip_norm: {a.b: 1}}", "found the key 'a.b'; dots separate keys"),
        ("{training.clip_norm: 1, training.clip_norm: 1}", "given twice, first in line 14"),
    ],
)
def test_a_point_that_cannot_be_tried_is_refused(point, message):
    found = refusal(f"\n    - {point}")
    assert found.startswith("my.yaml:14: search.enqueue.0")
    assert message in found


def test_each_point_is_looked_at_and_lines_are_its_own():
    text = "\n    - {cell: lstm}\n    - cell: exprnn\n      training.clip_norm: 3"
    assert refusal(text).startswith("my.yaml:16: search.enqueue.1.training.clip_norm: found 3")


def test_a_point_between_the_bounds_that_cannot_be_trained_is_refused(monkeypatch):
    text = """\
task: {name: copying, delay: 5}
cell: {name: lstm, hidden_size: 4, forget_init: chrono, chrono_max: {int: [3, 9]}}
search: {enqueue: [{cell.chrono_max: 4}, {cell.chrono_max: 5}]}
"""

    def check(self):
        if self.chrono_max == 5:
            raise SettingError("chrono_max", "found 5")

    monkeypatch.setattr(LSTMSettings, "check", check)
    with pytest.raises(RequestError) as caught:
        SearchSpec.from_text(text, "my.yaml")
    message = "my.yaml:3: search.enqueue.1: cannot be trained: cell.chrono_max: found 5"
    assert str(caught.value) == message


@pytest.mark.parametrize("points", ["{cell: lstm}", "lstm", "5", "{choice: [1, 2]}"])
def test_points_are_a_list(points):
    assert "search.enqueue: found " in refusal(points)
    assert "expected a list of points" in refusal(points)


def test_a_misspelt_key_is_not_taken_for_a_hole():
    text = SPACE.replace("enqueue: POINTS", "enqeue: [{cell: lstm}]")
    with pytest.raises(RequestError, match=r"search\.enqeue: unknown key .* mean 'enqueue'"):
        SearchSpec.from_text(text, "my.yaml")


def test_dots_stay_refused_everywhere_else():
    for text in (
        "cell.hidden_size: 3",
        "search: {a.b: 1}",
        "search: {enqueue: {a.b: 1}}",
        "other: {enqueue: [{a.b: 1}]}",
        "search: {enqueue: [{a: {b.c: 1}}]}",
    ):
        with pytest.raises(RequestError, match="dots separate keys"):
            SearchSpec.from_text(text, "my.yaml")
    with pytest.raises(RequestError, match="dots separate keys"):
        spec("[]", "search.enqueue={a.b: 1}")


FILLED = """
    - {training.optimizer.learning_rate: 2e-4, training.clip_norm: 10}
    - {training.clip_norm: 1}
    - {cell: lstm, cell.lstm.hidden_size: 8, cell.lstm.forget_bias: 1}
    - {cell: exprnn, training.clip_norm: 10}"""


def test_a_hole_that_is_filled_is_no_longer_part_of_the_points():
    assert spec(FILLED, "training.clip_norm=10", "cell.lstm.hidden_size=6").enqueue == (
        {"training.optimizer.learning_rate": 2e-4},
        {"cell": "lstm", "cell.lstm.forget_bias": 1.0},
        {"cell": "exprnn"},
    )
    assert spec("[{training.clip_norm: 1}]", "training.clip_norm=null").enqueue == ()


def test_a_hole_that_another_takes_the_place_of_keeps_its_points():
    changed = spec("[{training.clip_norm: 10}]", "training.clip_norm={choice: [10, 100]}")
    assert changed.enqueue == ({"training.clip_norm": 10},)


def test_lines_are_right_behind_a_point_that_is_gone():
    points = FILLED + "\n    - {cell: exprn}"
    found = refusal(points, "training.clip_norm=1")
    assert found.startswith("my.yaml:18: search.enqueue.3.cell: found 'exprn'")


def test_points_of_what_was_replaced_as_a_whole_are_refused_with_advice():
    found = refusal(FILLED, "cell={name: lstm}")
    assert "no hole is called 'cell'" in found
    assert "It was replaced by --set cell: replace the points as well" in found
    with_points = spec(FILLED, "cell={name: lstm}", "search.enqueue=[{training.clip_norm: 1}]")
    assert with_points.enqueue == ({"training.clip_norm": 1},)


def test_a_misspelt_hole_is_still_refused_where_another_was_filled():
    found = refusal("[{training.clip_nrm: 1}]", "training.clip_norm=1")
    assert "no hole is called 'training.clip_nrm'" in found
    assert "replaced" not in found


def test_more_points_than_trials_are_fine():
    points = ", ".join(f"{{training.optimizer.learning_rate: {n}e-3}}" for n in range(1, 7))
    summary = summarise(spec(f"[{points}]"))
    assert (summary.enqueued, summary.trials) == (6, 4)
