"""The copying task, position by position, against rows written down from the papers."""

import math
from typing import get_args

import pytest
import torch

from longhaul_trainers.catalogue import TASKS
from longhaul_trainers.errors import SettingError, UnknownNameError
from longhaul_trainers.settings import describe, parse, parse_component
from longhaul_trainers.tasks.base import IGNORED
from longhaul_trainers.tasks.copying import Copying, CopyingSettings

# Delay 14. P is a symbol of the pattern, R the same symbol recalled, - a step that is not counted.
ROWS = {
    "arjovsky-2016": (
        "PPPPPPPPPP 0000000000000 9 0000000000",
        "0000000000 0000000000000 0 RRRRRRRRRR",
    ),
    "bai-2018": (
        "PPPPPPPPPP 0000000000000 9 9999999999",
        "0000000000 0000000000000 0 RRRRRRRRRR",
    ),
    "gu-2020": (
        "PPPPPPPPPP 00000000000000 9999999999",
        "---------- -------------- RRRRRRRRRR",
    ),
    "helfrich-2018": (
        "PPPPPPPPPP 0000000000000 9 0000000000",
        "0000000000 0000000000000 0 RRRRRRRRRR",
    ),
    "keller-2024": (
        "PPPPPPPPPP 000 9 0000000000",
        "0000000000 000 0 RRRRRRRRRR",
    ),
    "kerg-2019": (
        "PPPPPPPPPP 0000000000000 9 0000000000",
        "0000000000 0000000000000 0 RRRRRRRRRR",
    ),
    "lezcano-2019": (
        "PPPPPPPPPP 00000000000000 9000000000",
        "0000000000 00000000000000 RRRRRRRRRR",
    ),
    "mhammedi-2017": (
        "PPPPPPPPPP 0000000000000 9 0000000000",
        "0000000000 0000000000000 0 RRRRRRRRRR",
    ),
}
VARIABLE = "mhammedi-2017-variable"

CLASSES = {"bai-2018": 10, "gu-2020": 10, "keller-2024": 10, "mhammedi-2017": 10}

BATCH_AND_STEPS = {
    "arjovsky-2016": (20, 20_000),
    "bai-2018": (32, 50 * math.ceil(10_000 / 32)),
    "gu-2020": (100, 50 * 495),
    "helfrich-2018": (20, 10_000),
    "keller-2024": (128, 60_000),
    "kerg-2019": (10, 1_500),
    "lezcano-2019": (128, 4_000),
    "mhammedi-2017": (20, 20_000),
}

PROTOCOLS = sorted(ROWS)


def copying(protocol="arjovsky-2016", delay=14):
    return Copying(CopyingSettings(protocol=protocol, delay=delay))


def test_every_protocol_is_written_down_here():
    names = get_args(describe(CopyingSettings)["protocol"].type)
    assert set(ROWS) == set(BATCH_AND_STEPS)
    assert {*ROWS, VARIABLE} == set(Copying.protocols) == set(names)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_rows_stand_as_published(name):
    task = copying(name)
    batch = task.training_batch(seed=5, step=3, batch_size=4)
    inputs, targets = (row.replace(" ", "") for row in ROWS[name])
    assert task.length == len(inputs) == len(batch.inputs) == len(batch.targets)
    codes = batch.inputs.argmax(2)
    for b in range(4):
        pattern = iter(codes[:10, b].tolist())
        recall = iter(codes[:10, b].tolist())
        wanted = {"P": lambda p=pattern: next(p), "R": lambda r=recall: next(r), "-": lambda: -100}
        for row, found in ((inputs, codes), (targets, batch.targets)):
            expected = [wanted[c]() if c in wanted else int(c) for c in row]
            assert found[:, b].tolist() == expected


@pytest.mark.parametrize("name", PROTOCOLS)
def test_inputs_are_one_hot(name):
    inputs = copying(name).training_batch(0, 0, 6).inputs
    assert inputs.shape[2] == 10
    assert torch.equal(inputs.sum(2), torch.ones(inputs.shape[:2]))
    assert set(inputs.unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("name", PROTOCOLS)
def test_size_and_training_as_published(name):
    task = copying(name)
    assert task.output_size == CLASSES.get(name, 9)
    assert (task.protocol.batch_size, task.protocol.steps) == BATCH_AND_STEPS[name]


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize("delay", [100, 1000])
def test_length_grows_with_the_delay(name, delay):
    assert copying(name, delay).length == delay + (10 if name == "keller-2024" else 20)


def test_symbols_are_uniform_and_independent():
    symbols = copying(delay=1).evaluation_set("validation", 20_000).targets[-10:] - 1
    counts = torch.bincount(symbols.flatten(), minlength=8).double()
    assert len(counts) == 8
    assert ((counts - 25_000) ** 2 / 25_000).sum() < 29.9  # chi-square, 7 degrees, p = 1e-4
    pairs = torch.bincount((symbols[:-1] * 8 + symbols[1:]).flatten(), minlength=64).double()
    # Overlapping pairs are a little dependent: the bound for 63 degrees with some room.
    assert ((pairs - 180_000 / 64) ** 2 / (180_000 / 64)).sum() < 130


@pytest.mark.parametrize(
    ("delay", "baseline"),
    [(100, 0.17329), (200, 0.09452), (500, 0.03999), (1000, 0.02039), (2000, 0.01029)],
)
def test_baseline_has_the_published_value(delay, baseline):
    assert copying(delay=delay).baseline == pytest.approx(baseline, abs=5e-6)
    assert copying("lezcano-2019", delay).baseline == pytest.approx(baseline, abs=5e-6)
    assert copying("gu-2020", delay).baseline == pytest.approx(2.0794, abs=5e-5)
    assert copying("keller-2024", delay + 10).baseline == pytest.approx(baseline, abs=5e-6)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_loss_is_the_mean_over_counted_steps(name):
    task = copying(name)
    batch = task.training_batch(1, 1, 5)
    outputs = torch.randn(
        task.length, 5, task.output_size, generator=torch.Generator().manual_seed(0)
    )
    costs = []
    for t, row in enumerate(ROWS[name][1].replace(" ", "")):
        for b in range(5):
            if row != "-":
                logits = outputs[t, b].double()
                costs.append(logits.logsumexp(0) - logits[batch.targets[t, b]])
    wanted = torch.stack(costs).mean().item()
    assert task.loss(outputs, batch.targets).item() == pytest.approx(wanted, rel=1e-5)


def test_accuracy_is_of_the_recalled_symbols_alone():
    task = copying()
    targets = task.training_batch(0, 0, 8).targets
    all_blank = torch.zeros(task.length, 8, 9)
    all_blank[:, :, 0] = 1
    assert task.metrics(all_blank, targets)["accuracy"] == 0
    half = torch.nn.functional.one_hot(targets, 9).float()
    half[-10:-5] = all_blank[-10:-5]
    half[:-10] = 0  # wrong or not, blanks do not count
    assert task.metrics(half, targets)["accuracy"] == 0.5


def test_evaluation_set_never_changes():
    task = copying(delay=100)
    assert task.evaluation_hash("validation", 500) == VALIDATION_SHA256
    assert task.evaluation_hash("test", 1000) == TEST_SHA256


# Recorded once. A change here means that no earlier result can be compared with a later one.
VALIDATION_SHA256 = "aced4eedbe4bc278566b1dd3af139647acb5244e88936c2e923f1a78b4d96015"
TEST_SHA256 = "384bf0ae9bfc8d4465438d671614ee0f54a6d07ae7026363ec2675d3f27f1e46"


@pytest.mark.parametrize("delay", [0, -3])
def test_a_delay_below_one_is_refused(delay):
    with pytest.raises(SettingError, match=rf"^task\.delay: .*>= 1, found {delay}"):
        parse(CopyingSettings, {"delay": delay}, "task")


def test_a_delay_that_the_layout_has_no_room_for_is_refused():
    with pytest.raises(SettingError, match=r"^task\.delay: .*keller-2024 needs at least 11"):
        parse(CopyingSettings, {"protocol": "keller-2024", "delay": 10}, "task")
    assert copying("keller-2024", 11).length == 21


def test_an_unknown_protocol_is_refused_with_the_nearest_name():
    with pytest.raises(UnknownNameError, match=r"task\.protocol: .*did you mean 'arjovsky-2016'"):
        parse(CopyingSettings, {"protocol": "arjovski-2016"}, "task")


def test_name_alone_is_enough():
    assert parse_component(TASKS, "copying") == CopyingSettings(protocol="arjovsky-2016", delay=100)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_shortest_delay_keeps_the_pattern(name):
    least = 11 if name == "keller-2024" else 1
    task = copying(name, least)
    batch = task.training_batch(2, 0, 3)
    assert torch.equal(batch.inputs[:10].argmax(2), batch.targets[-10:])
    assert (batch.targets[-10:] != IGNORED).all()


def test_example_is_aligned():
    assert copying("lezcano-2019", 5).example().splitlines() == [
        "input   2 3 8 2 1 5 7 7 5 4 . . . . . M . . . . . . . . .",
        "target  . . . . . . . . . . . . . . . 2 3 8 2 1 5 7 7 5 4",
        "(. blank, M marker; 25 steps)",
    ]
    assert copying("gu-2020", 100).example().splitlines() == [
        "input   2 3 8 2 1 5 7 7 5 4 . . . … . . . M M M M M M M M M M",
        "target  - - - - - - - - - - - - - … - - - 2 3 8 2 1 5 7 7 5 4",
        "(. blank, M marker, - not counted, … 94 more blanks; 120 steps)",
    ]


def test_the_marker_of_the_variable_variant_comes_anywhere_after_the_first_blank():
    delay, size = 6, 20_000
    task = copying(VARIABLE, delay)
    batch = task.evaluation_set("validation", size)
    codes = batch.inputs.argmax(2)
    assert task.length == len(codes) == delay + 20
    assert ((codes == 9).sum(0) == 1).all()
    marker = (codes == 9).int().argmax(0)
    counts = torch.bincount(marker).tolist()
    assert counts[:11] == [0] * 11
    assert len(counts) == delay + 10
    expected = size / (delay - 1)
    assert (
        sum((one - expected) ** 2 / expected for one in counts[11:]) < 23.5
    )  # 4 degrees, p = 1e-4
    for b in range(50):
        at = int(marker[b])
        wanted = [0] * (at + 1) + codes[:10, b].tolist() + [0] * (task.length - at - 11)
        assert batch.targets[:, b].tolist() == wanted
    assert (codes[10:][codes[10:] != 9] == 0).all()


def test_the_variable_variant_asks_for_as_much_and_counts_the_recalled_symbols():
    task = copying(VARIABLE, 100)
    assert task.baseline == pytest.approx(copying(delay=100).baseline)
    targets = task.training_batch(0, 0, 8).targets
    outputs = torch.nn.functional.one_hot(targets, 10).float()
    assert task.metrics(outputs, targets)["accuracy"] == 1
    blank = torch.zeros_like(outputs)
    blank[:, :, 0] = 1
    assert task.metrics(blank, targets)["accuracy"] == 0
    outputs[:, :2] = blank[:, :2]
    assert task.metrics(outputs, targets)["accuracy"] == 0.75


def test_the_variable_variant_has_an_example_of_its_own():
    lines = copying(VARIABLE, 100).example().splitlines()
    assert lines[0].count("M") == 1
    assert max(map(len, lines)) < 100
    assert lines[2] == "(. blank, M marker, … blanks; 120 steps)"
    with pytest.raises(SettingError, match="needs at least 2"):
        parse(CopyingSettings, {"protocol": VARIABLE, "delay": 1}, "task")
