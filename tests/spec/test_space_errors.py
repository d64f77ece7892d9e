"""Every mistake in a space is one message: file, line, key, what was found, what was expected."""

import pytest

from longhaul.errors import RequestError
from longhaul.spec.search_spec import SearchSpec

SPACE = """\
description: a space
task:
  name: copying
  delay: 100
cell:
  choice:
    - name: exprnn
      hidden_size: 16
      skew_init: {choice: [henaff, cayley]}
    - name: lstm
      hidden_size: 16
      forget_bias:
        uniform: [0, 3]
training:
  steps: 100
  batch_size: 20
  optimizer:
    name: rmsprop
    learning_rate: {loguniform: [1e-4, 1e-2]}
search:
  trials: 4
  scheduler: asha
resources:
  cpus: 1
"""


def refusal(text: str) -> str:
    with pytest.raises(RequestError) as caught:
        SearchSpec.from_text(text, "my.yaml", name="my")
    assert caught.value.exit_status == 2
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_space_is_accepted_as_it_stands():
    SearchSpec.from_text(SPACE, "my.yaml", name="my")


@pytest.mark.parametrize(
    ("old", "new", "start", "expected"),
    [
        # keys
        (
            "description:",
            "descripton:",
            "1: descripton: unknown key",
            "did you mean 'description'?",
        ),
        ("  delay", "  delai", "4: task.delai: unknown key 'delai'", "did you mean 'delay'?"),
        ("trials:", "trails:", "21: search.trails: unknown key", "did you mean 'trials'?"),
        ("cpus:", "cpu:", "24: resources.cpu: unknown key", "did you mean 'cpus'?"),
        ("batch_size:", "batchsize:", "16: training.batchsize:", "did you mean 'batch_size'?"),
        ("skew_init:", "skewinit:", "9: cell.exprnn.skewinit:", "did you mean 'skew_init'?"),
        ("forget_bias:", "forgetbias:", "12: cell.lstm.forgetbias:", "mean 'forget_bias'?"),
        ("learning_rate:", "lr:", "19: training.optimizer.lr: unknown key", "learning_rate"),
        # names
        ("name: copying", "name: copyin", "3: task.name: unknown task", "mean 'copying'?"),
        ("name: lstm", "name: lstn", "10: cell.lstn.name: unknown cell", "did you mean 'lstm'?"),
        ("name: rmsprop", "name: rmspro", "18: training.optimizer.name:", "mean 'rmsprop'?"),
        ("scheduler: asha", "scheduler: ashar", "22: search.scheduler", "did you mean 'asha'?"),
        ("[henaff, cayley]", "[henaff, cayly]", "9: cell.exprnn.skew_init:", "mean 'cayley'?"),
        ("    - name: lstm\n", "    - forget_init: constant\n", "10: cell.1.name: missing", "lstm"),
        # values
        ("steps: 100", "steps: 0", "15: training.steps: ", "expected a number >= 1, found 0"),
        ("steps: 100", "steps: 1.5", "15: training.steps: ", "expected a whole number, found"),
        ("steps: 100", "steps: ten", "15: training.steps: ", "expected a whole number, found str"),
        (
            "steps: 100",
            "steps: true",
            "15: training.steps: ",
            "expected a whole number, found bool",
        ),
        ("steps: 100", "steps: [1]", "15: training.steps: found a list", "expected one value"),
        ("delay: 100", "delay: -5", "4: task.delay: ", "expected a number >= 1, found -5"),
        ("trials: 4", "trials: 0", "21: search.trials: ", "expected a number >= 1"),
        ("cpus: 1", "cpus: 0", "24: resources.cpus: ", "expected a number > 0, found 0"),
        (
            "hidden_size: 16\n      skew",
            "hidden_size: 0\n      skew",
            "8: cell.exprnn.hidden_size",
            "",
        ),
        ("  name: copying", "  name: copying\n  protocol: none", "4: task.protocol: ", "arjovsky"),
        ("description: a space", "description: 3", "1: description: found 3", "expected a text"),
        ("description: a space", "description: {a: 1}", "1: description: ", "expected a text"),
        ("description: a space", "format: 2", "1: format: found 2; expected 1", ""),
        ("description: a space", "format: true", "1: format: found True; expected 1", ""),
        ("description: a space", "name: No", "1: name: found 'No'; expected 1 to 63", ""),
        # sections
        ("scheduler: asha", "scheduler: 3", "22: search.scheduler: ", "expected the name"),
        ("task:\n  name: copying\n  delay: 100\n", "", "1: task: missing", ""),
        ("task:\n  name: copying\n  delay: 100\n", "task: 3\n", "2: task: ", "expected the name"),
        ("resources:\n  cpus: 1\n", "resources: 1\n", "23: resources: ", "expected a mapping"),
        # holes at their ends
        ("[0, 3]", "[3, 0]", "13: cell.lstm.forget_bias: found [3, 0]", "low < high"),
        (
            "hidden_size: 16\n      skew",
            "hidden_size: {int: [0, 64]}\n      skew",
            "8: cell.exprnn.hidden_size: expected a number >= 1, found 0",
            "int [0, 64] reaches it",
        ),
        (
            "hidden_size: 16\n      skew",
            "hidden_size: {uniform: [8, 64]}\n      skew",
            "8: cell.exprnn.hidden_size: expected a whole number, found float 8.0",
            "use int or logint",
        ),
        (
            "skew_init: {choice: [henaff, cayley]}",
            "skew_init:\n        choice:\n        - henaff\n        - 3",
            "12: cell.exprnn.skew_init: unknown value 3",
            "Known: henaff, henaff_negative, cayley, random",
        ),
        (
            "skew_init: {choice: [henaff, cayley]}",
            "skew_init: {uniform: [0, 1]}",
            "9: cell.exprnn.skew_init: unknown value 0.0",
            "Known: henaff, henaff_negative, cayley, random",
        ),
        (
            "learning_rate: {loguniform: [1e-4, 1e-2]}",
            "learning_rate: {uniform: [-1, 1]}",
            "19: training.optimizer.learning_rate: expected a number > 0, found -1.0",
            "uniform [-1, 1] reaches it",
        ),
        # holes where none may be
        (
            "delay: 100",
            "delay: {int: [1, 9]}",
            "4: task.delay: found the hole int [1, 9]",
            "same task",
        ),
        ("trials: 4", "trials: {int: [1, 9]}", "21: search.trials: found the hole", "before its"),
        ("cpus: 1", "cpus: {choice: [1, 2]}", "24: resources.cpus: found the hole", "same res"),
        ("steps: 100", "steps: {int: [1, 9]}", "15: training.steps: found the hole", "share this"),
        (
            "name: lstm",
            "name: {choice: [lstm, gru]}",
            "10: cell.1.name: found the hole choice [lstm, gru]",
            "choose among whole mappings",
        ),
        (
            "description: a space",
            "description: {choice: [a, b]}",
            "1: description: ",
            "expected a text",
        ),
    ],
)
def test_a_mistake_is_told_with_its_place_and_what_is_expected(old, new, start, expected):
    assert SPACE.count(old) == 1, old
    message = refusal(SPACE.replace(old, new))
    assert message.startswith(f"my.yaml:{start}")
    assert expected in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "my.yaml:1: found nothing; expected a mapping with task, cell and training"),
        (
            "# a comment",
            "my.yaml:1: found nothing; expected a mapping with task, cell and training",
        ),
        ("[1, 2]", "my.yaml:1: found list [1, 2]; expected a mapping with task, cell and training"),
        ("hello", "my.yaml:1: found str 'hello'; expected a mapping with task, cell and training"),
        ("task: copying", "my.yaml:1: cell: missing"),
    ],
)
def test_a_file_that_is_no_space(text, message):
    assert refusal(text) == message


def test_the_bad_end_of_the_second_branch_is_found():
    text = SPACE.replace("        uniform: [0, 3]", "        choice: [0, 1, x]")
    assert refusal(text).startswith(
        "my.yaml:13: cell.lstm.forget_bias: expected a number, found str"
    )


def test_the_bad_upper_end_of_a_range_is_found():
    text = SPACE.replace("name: lstm", "name: scornn").replace("forget_bias", "rho")
    message = "my.yaml:12: cell.scornn.rho: expected a number >= 0 and <= 1, found 3.0; "
    assert refusal(text).startswith(message)


def test_a_value_that_two_settings_forbid_together_is_found():
    text = SPACE.replace(
        "forget_bias:", "forget_init: {choice: [constant, chrono]}\n      forget_bias:"
    )
    message = refusal(text)
    assert message.startswith(
        "my.yaml:10: cell.lstm.chrono_max: missing; forget_init: chrono needs"
    )


def test_a_hole_in_a_nested_component_is_found():
    phi = (
        "nonlinearity:\n        choice:\n        - name: tanh\n        - {name: modrelu, offst: 1}"
    )
    text = SPACE.replace("skew_init: {choice: [henaff, cayley]}", phi)
    message = refusal(text)
    assert message.startswith("my.yaml:12: cell.exprnn.nonlinearity.modrelu.offst: unknown key")
    assert "did you mean 'offset'?" in message


def test_sections_that_share_a_value_cannot_be_chosen_with_it():
    training = SPACE[SPACE.index("training:") : SPACE.index("search:")]
    text = SPACE.replace(
        training, "training:\n  choice:\n  - {batch_size: 10}\n  - {batch_size: 20, steps: 5}\n"
    )
    message = refusal(text)
    assert message.startswith(
        "my.yaml:17: training.1.steps: found None in one branch of a choice and 5"
    )


def test_an_int_hole_may_fill_a_number():
    text = SPACE.replace("        uniform: [0, 3]", "        int: [0, 3]")
    spec = SearchSpec.from_text(text, "my.yaml", name="my")
    assert "cell.lstm.forget_bias" in [found.name for found in spec.holes()]


def test_a_long_value_does_not_flood_the_terminal():
    assert len(refusal(SPACE.replace("steps: 100", "steps: " + "x" * 100_000))) < 1_000
