"""What a search may minimise: its value, what is said of it, and what a space may ask for."""

import math

import pytest

from longhaul.errors import RequestError
from longhaul.spec.objectives import LOSS, OBJECTIVES, Metric, NormalisedLoss, recorded_objective
from longhaul.spec.search_spec import SearchSpec
from longhaul.spec.solving import ExamplesToSolve, SecondsToSolve, StepsToSolve
from longhaul_trainers.settings import dump

SPACE = """
task: {name: copying, delay: 5}
cell: {name: lstm, hidden_size: 8}
training: {steps: 600, batch_size: BATCH, optimizer: {name: adam, learning_rate: 0.01}}
search: {objective: OBJECTIVE}
"""
CURVE = {
    10: {"valid/loss": 2.0, "valid/over_baseline": 1.0, "valid/accuracy": 0.1},
    20: {"valid/loss": 0.5, "valid/over_baseline": 0.25, "valid/accuracy": 0.8},
    30: {"valid/loss": 0.8, "valid/over_baseline": 0.4, "valid/accuracy": 0.9},
}
SPEEDS = {10: 5.0, 20: 10.0, 30: 100.0}


def spec(objective="loss", batch="20", text=SPACE):
    text = text.replace("OBJECTIVE", objective).replace("BATCH", batch)
    return SearchSpec.from_text(text, "space.yaml", name="a")


def refused(objective):
    with pytest.raises(RequestError) as caught:
        spec(objective)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("space.yaml:5: search.objective")
    return str(caught.value)


def test_a_space_that_says_nothing_minimises_the_loss_and_keeps_its_hash():
    silent = SPACE.replace("search: {objective: OBJECTIVE}", "")
    assert spec(text=silent).search.objective == LOSS
    assert spec(text=silent).sha256 == spec("loss").sha256
    others = [spec(one).sha256 for one in ("accuracy", "normalised_loss", "steps_to_solve")]
    assert len({spec("loss").sha256, *others}) == 4


@pytest.mark.parametrize(
    ("objective", "value", "reached", "text", "told"),
    [
        ("loss", 0.5, 0.5, "0.5", math.log10(0.5)),
        ("normalised_loss", 0.25, 0.25, "0.25", math.log10(0.25)),
        ("accuracy", -0.9, 0.9, "0.9", -0.9),
        ("{name: metric, metric: valid/loss}", 0.5, 0.5, "0.5", math.log10(0.5)),
        ("steps_to_solve", 750.0, None, "unsolved (0.25 × baseline)", math.log10(750)),
        ("{name: steps_to_solve, solved: loss < 0.6}", 20.0, 20.0, "20", math.log10(20)),
        ("{name: steps_to_solve, solved: accuracy > 0.85}", 30.0, 30.0, "30", math.log10(30)),
        (
            "{name: examples_to_solve, solved: over_baseline < 0.3}",
            400,
            400,
            "400",
            math.log10(400),
        ),
    ],
)
def test_a_value_is_made_of_the_curve_and_understood_again(objective, value, reached, text, told):
    made = spec(objective).search.objective
    found = made.value(CURVE, 20)
    assert found == pytest.approx(value)
    assert made.reached(found) == (None if reached is None else pytest.approx(reached))
    assert made.text(found) == text
    assert made.told(found) == pytest.approx(told)
    assert recorded_objective(dump(made)) == made
    assert made.value({}, 20) == math.inf


def test_a_trial_is_solved_at_the_first_point_however_it_goes_on():
    objective = StepsToSolve(solved="loss < 0.6", limit=600.0)
    assert objective.value(CURVE, 1) == 20
    assert objective.value({10: CURVE[10]}, 1) == 600 * 2
    assert objective.value({**CURVE, 15: {"valid/loss": math.nan}}, 1) == 20


def test_trials_that_solve_rank_by_what_it_took_and_the_others_behind_by_their_loss():
    objective = StepsToSolve(solved="loss < 0.1", limit=100.0)

    def trial(*losses):
        points = {
            10 * i: {"valid/loss": loss, "valid/over_baseline": loss / 2}
            for i, loss in enumerate(losses, 1)
        }
        return objective.value(points, 1)

    values = [
        trial(0.05),
        trial(5.0, 0.05),
        trial(*[9.0] * 9, 0.09),
        trial(0.1),
        trial(3.0, 0.2, 7.0),
        trial(0.3),
        trial(50.0),
        trial(),
    ]
    assert values == sorted(values)
    assert len(set(values)) == len(values)
    told = [objective.told(value) for value in values]
    assert told == sorted(told)
    assert [objective.reached(value) for value in values[:4]] == [10, 20, 100, None]
    assert objective.over_baseline(values[5], None) == pytest.approx(0.15)


def test_seconds_are_those_of_training():
    objective = SecondsToSolve(solved="loss < 0.6", limit=1e8)
    curve = {
        step: {**point, "speed/steps_per_second": SPEEDS[step]} for step, point in CURVE.items()
    }
    assert objective.value(curve, 1) == pytest.approx(10 / 5 + 10 / 10)
    assert "speed/steps_per_second" in objective.columns


def test_the_limit_is_what_no_trial_of_the_space_exceeds():
    assert spec("steps_to_solve").search.objective.limit == 600
    examples = spec("examples_to_solve", "{choice: [20, 64, 32]}").search.objective
    assert isinstance(examples, ExamplesToSolve)
    assert examples.limit == 600 * 64
    longest = {600: {"valid/loss": 0.0, "valid/over_baseline": 0.0}}
    assert examples.value(longest, 64) == 600 * 64
    assert examples.reached(examples.value(longest, 64)) == 600 * 64


def test_the_resolved_file_says_what_was_minimised_and_when_a_task_is_solved():
    for objective in ("accuracy", "steps_to_solve", "examples_to_solve", "normalised_loss"):
        made = spec(objective)
        again = SearchSpec.from_text(made.to_yaml(), "spec.yaml", name="a")
        assert again.search.objective == made.search.objective
        assert again.sha256 == made.sha256
    assert spec("accuracy").search.objective == Metric(metric="accuracy", better="higher")
    assert spec("steps_to_solve").search.objective.solved == "over_baseline < 0.1"
    adding = SPACE.replace("copying, delay: 5", "adding, length: 50")
    assert spec("steps_to_solve", text=adding).search.objective.solved == "loss < 0.0064"


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        ("acuracy", "unknown objective 'acuracy'; did you mean 'accuracy'?"),
        ("steps_to_slove", "did you mean 'steps_to_solve'?"),
        ("bits_per_character", "unknown objective 'bits_per_character'"),
        ("test/accuracy", "never looks at the test set: expected 'accuracy'"),
        ("{name: metric, metric: los}", "did you mean 'loss'?"),
        ("{name: metric, metric: accuracy, better: lower}", "of accuracy, higher is better"),
        ("{name: steps_to_solve, solved: acuracy > 1}", "did you mean 'accuracy'?"),
        ("{name: steps_to_solve, solved: accuracy < 1}", "of accuracy, higher is better"),
        ("{name: steps_to_solve, solved: test/loss < 1}", "never looks at the test set"),
        ("{name: steps_to_solve, solved: soon}", "expected a metric, < or >, and a number"),
        ("{name: steps_to_solve, solved: loss < nan}", "expected a metric, < or >, and a number"),
        ("{name: steps_to_solve, solvd: loss < 1}", "unknown key 'solvd'; did you mean 'solved'?"),
        ("{choice: [loss, accuracy]}", "before its first trial"),
        ("5", "expected the name of an objective or a mapping with one"),
    ],
)
def test_what_a_task_does_not_measure_is_refused_in_one_message(objective, message):
    assert message in refused(objective)


@pytest.mark.parametrize(
    ("objective", "select"),
    [
        ("loss", "loss"),
        ("normalised_loss", "loss"),
        ("accuracy", "accuracy"),
        ("{name: metric, metric: loss}", "loss"),
        ("steps_to_solve", "loss"),
        ("{name: examples_to_solve, solved: accuracy > 0.9}", "accuracy"),
    ],
)
def test_the_objective_selects_the_weights_unless_the_space_says_otherwise(objective, select):
    made = spec(objective)
    assert made.tree["training"]["select"] == select
    assert SearchSpec.from_text(made.to_yaml(), "again.yaml", name="a") == made
    said = SPACE.replace("steps: 600", "steps: 600, select: accuracy")
    assert spec(objective, text=said).tree["training"]["select"] == "accuracy"


def test_every_branch_of_a_choice_of_trainings_selects_alike():
    branches = [f"{{steps: 600, batch_size: {size}}}" for size in (10, 20)]
    training = f"training: {{choice: [{', '.join(branches)}]}}"
    lines = [training if "training" in line else line for line in SPACE.splitlines()]
    text = "\n".join(lines)
    training = spec("accuracy", text=text).tree["training"]
    assert [option["select"] for option in training.options] == ["accuracy", "accuracy"]


def test_what_a_ledger_does_not_say_is_the_loss():
    assert recorded_objective(None) == LOSS
    assert recorded_objective({"name": "normalised_loss"}) == NormalisedLoss()
    assert set(OBJECTIVES.names()) == {
        "loss", "normalised_loss", "metric", "steps_to_solve", "examples_to_solve",
        "seconds_to_solve",
    }  # fmt: skip
