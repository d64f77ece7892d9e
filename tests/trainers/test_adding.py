"""The adding task: where markers go, what is summed, what is refused."""

from collections import Counter
from itertools import combinations, product
from typing import get_args

import pytest
import torch
from scipy.stats import chi2

from longhaul_trainers.catalogue import TASKS
from longhaul_trainers.errors import SettingError, UnknownNameError
from longhaul_trainers.settings import describe, parse, parse_component
from longhaul_trainers.tasks.adding import Adding, AddingSettings

# For lengths 8 and 9: the steps that the earlier and the later marker may take.
STEPS = {
    "arjovsky-2016": {8: ([0, 1, 2, 3], [4, 5, 6, 7]), 9: ([0, 1, 2, 3], [4, 5, 6, 7])},
    "helfrich-2018": {8: ([0, 1, 2], [3, 4, 5, 6, 7]), 9: ([0, 1, 2, 3], [4, 5, 6, 7, 8])},
    "keller-2024": {8: ([0, 1, 2, 3], [4, 5, 6, 7]), 9: ([0, 1, 2, 3], [4, 5, 6, 7, 8])},
    "rusch-2021": {8: ([0, 1, 2, 3], [4, 5, 6, 7]), 9: ([0, 1, 2, 3], [4, 5, 6, 7, 8])},
    "vorontsov-2017": {8: ([0, 1, 2, 3], [4, 5, 6, 7]), 9: ([0, 1, 2, 3], [4, 5, 6, 7, 8])},
}

BATCH_AND_STEPS = {
    "arjovsky-2016": (20, 20_000),
    "bai-2018": (32, 10 * 1_563),
    "helfrich-2018": (50, 10 * 2_000),
    "keller-2024": (128, 60_000),
    "mhammedi-2017": (50, 10_000),
    "rusch-2021": (50, 60_000),
    "vorontsov-2017": (50, 2_000 * 100),
}

PROTOCOLS = sorted(BATCH_AND_STEPS)


def adding(protocol="arjovsky-2016", length=100):
    return Adding(AddingSettings(protocol=protocol, length=length))


def marked_steps(task, size):
    flags = task.evaluation_set("validation", size).inputs[:, :, 1]
    assert set(flags.unique().tolist()) <= {0.0, 1.0}
    assert torch.equal(flags.sum(0), torch.full((size,), 2.0))
    return [tuple(flags[:, b].nonzero().flatten().tolist()) for b in range(size)]


def assert_equally_likely(seen, cells):
    assert set(seen) == set(cells)
    expected = len(seen) / len(cells)
    statistic = sum((seen.count(cell) - expected) ** 2 / expected for cell in cells)
    assert statistic < chi2.ppf(1 - 1e-4, len(cells) - 1)


def test_every_protocol_is_written_down_here():
    names = get_args(describe(AddingSettings)["protocol"].type)
    assert set(BATCH_AND_STEPS) == set(Adding.protocols) == set(names)
    assert set(STEPS) == set(names) - {"bai-2018", "mhammedi-2017"}


@pytest.mark.parametrize("length", [8, 9])
@pytest.mark.parametrize("name", sorted(STEPS))
def test_markers_are_uniform_over_the_published_ranges(name, length):
    first, second = STEPS[name][length]
    assert_equally_likely(
        marked_steps(adding(name, length), 2000), [(i, j) for i in first for j in second]
    )


def test_any_two_different_steps_are_equally_likely():
    seen = marked_steps(adding("bai-2018", 6), 3000)
    assert_equally_likely(seen, list(combinations(range(6), 2)))


def test_markers_of_the_ornn_program_stand_together_too_often_and_hardly_ever_at_the_end():
    # Six steps: each marker falls on one of five; where both do, the second goes one on.
    chances = dict.fromkeys(combinations(range(6), 2), 0)
    for first, second in product(range(5), repeat=2):
        chances[tuple(sorted((first, second + (first == second))))] += 1
    assert chances[0, 1] == 3
    assert chances[0, 2] == 2
    assert chances[4, 5] == 1
    assert chances[0, 5] == 0
    seen = Counter(marked_steps(adding("mhammedi-2017", 6), 3000))
    possible = {pair: 3000 * n / 25 for pair, n in chances.items() if n}
    assert set(seen) == set(possible)
    statistic = sum((seen[pair] - n) ** 2 / n for pair, n in possible.items())
    assert statistic < chi2.ppf(1 - 1e-4, len(possible) - 1)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_training_as_published(name):
    protocol = adding(name).protocol
    assert (protocol.batch_size, protocol.steps) == BATCH_AND_STEPS[name]


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize("length", [3, 10, 101])
def test_target_is_the_sum_of_the_marked_numbers(name, length):
    batch = adding(name, length).training_batch(3, 8, 50)
    values, flags = batch.inputs.unbind(2)
    assert batch.targets.shape == (1, 50, 1)
    share = 0.5 if name == "vorontsov-2017" else 1.0
    wanted = share * (values.double() * flags).sum(0)
    assert torch.allclose(batch.targets[0, :, 0].double(), wanted, rtol=0, atol=2**-24)


def test_numbers_are_uniform():
    values = adding().evaluation_set("test", 500).inputs[:, :, 0]
    assert values.min() >= 0
    assert values.max() < 1
    assert_equally_likely((values.flatten() * 20).long().tolist(), range(20))


def test_loss_is_the_mean_squared_error():
    targets = torch.tensor([[[1.0], [0.5]]])
    assert adding().loss(torch.tensor([[[0.0], [1.0]]]), targets).item() == 0.625


@pytest.mark.parametrize("name", PROTOCOLS)
def test_baseline_is_one_sixth_and_one_twenty_fourth_for_half_the_sum(name):
    wanted = 1 / 24 if name == "vorontsov-2017" else 1 / 6
    assert adding(name).baseline == pytest.approx(wanted, rel=1e-15)


def test_evaluation_set_never_changes():
    task = adding(length=100)
    assert task.evaluation_hash("validation", 500) == VALIDATION_SHA256
    assert task.evaluation_hash("test", 1000) == TEST_SHA256


# Recorded once. A change here means that no earlier result can be compared with a later one.
VALIDATION_SHA256 = "0e2b242dc9e1b123a5051019a61b637cba27f6824d0a93406dcccb631d66bda2"
TEST_SHA256 = "d15b4f25925b7a9aa8c0d7afd164632235383e225926122f063db87e69764ba8"


@pytest.mark.parametrize("length", [1, 0, -5])
def test_a_length_below_two_is_refused(length):
    with pytest.raises(SettingError, match=rf"^task\.length: .*>= 2, found {length}"):
        parse(AddingSettings, {"length": length}, "task")


def test_a_length_without_room_for_both_markers_is_refused():
    with pytest.raises(SettingError, match=r"^task\.length: .*helfrich-2018 needs at least 3"):
        parse(AddingSettings, {"protocol": "helfrich-2018", "length": 2}, "task")


def test_an_unknown_protocol_is_refused_with_the_nearest_name():
    with pytest.raises(UnknownNameError, match=r"task\.protocol: .*did you mean 'helfrich-2018'"):
        parse(AddingSettings, {"protocol": "helfrich-2019"}, "task")


def test_a_misspelt_key_is_refused_with_the_nearest_name():
    with pytest.raises(UnknownNameError, match="did you mean 'length'"):
        parse_component(TASKS, {"name": "adding", "lenght": 100}, "task")


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize("length", [3, 4, 9, 100])
def test_example_shows_both_marked_numbers_and_their_sum(name, length):
    task = adding(name, length)
    value, marker, target, size = task.example().splitlines()
    cells = list(zip(value.split()[1:], marker.split()[1:], strict=True))
    shown = [float(v) for v, m in cells if m == "1"]
    assert len(shown) == 2
    share = 0.5 if name == "vorontsov-2017" else 1.0
    assert float(target.split()[1]) == pytest.approx(share * sum(shown), abs=0.0151)
    assert len(target) == len(value) == len(marker)
    assert size == f"({length} steps)"
