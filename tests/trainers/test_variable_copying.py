"""Variable copying: where symbols stand, what counts, and what a fixed delay cannot do."""

import math
from collections import Counter
from itertools import combinations

import pytest
import torch
from scipy.stats import chi2

from longhaul_trainers.errors import SettingError
from longhaul_trainers.settings import parse
from longhaul_trainers.tasks.base import IGNORED
from longhaul_trainers.tasks.variable_copying import VariableCopying, VariableCopyingSettings

# symbols to remember, vocabulary, batch size, steps
PUBLISHED = {"gu-2020": (10, 10, 100, 50 * 495), "gu-2023": (16, 16, 64, 400_000)}


def variable_copying(protocol="gu-2020", blanks=None):
    return VariableCopying(VariableCopyingSettings(protocol=protocol, blanks=blanks))


def test_every_protocol_is_written_down_here():
    assert set(PUBLISHED) == set(VariableCopying.protocols)


@pytest.mark.parametrize("name", PUBLISHED)
def test_sizes_as_published(name):
    task = variable_copying(name)
    remembered, vocabulary, batch_size, steps = PUBLISHED[name]
    assert task.input_size == task.output_size == vocabulary
    assert (task.protocol.batch_size, task.protocol.steps) == (batch_size, steps)
    assert variable_copying(name, 7).length == 7 + 2 * remembered


def test_selective_copying_has_the_length_of_the_protocol():
    assert variable_copying("gu-2023").length == 4096 + 32
    assert variable_copying("gu-2020").length == 120


@pytest.mark.parametrize("name", PUBLISHED)
def test_markers_alone_are_counted_and_recall_the_symbols_in_order(name):
    task = variable_copying(name, 9)
    remembered, vocabulary, *_ = PUBLISHED[name]
    batch = task.training_batch(1, 2, 20)
    codes = batch.inputs.argmax(2)
    assert (codes[-remembered:] == vocabulary - 1).all()
    assert (batch.targets[:-remembered] == IGNORED).all()
    for b in range(20):
        spread = codes[:-remembered, b].tolist()
        assert spread.count(0) == 9
        assert [code for code in spread if code] == batch.targets[-remembered:, b].tolist()


def test_symbols_stand_at_any_choice_of_places_alike():
    batch = variable_copying(blanks=2).evaluation_set("validation", 6000)
    blank = batch.inputs[:12, :, 0]
    seen = Counter(tuple(places.nonzero().flatten().tolist()) for places in blank.T)
    choices = list(combinations(range(12), 2))
    assert set(seen) == set(choices)
    expected = 6000 / len(choices)
    statistic = sum((seen[one] - expected) ** 2 / expected for one in choices)
    assert statistic < chi2.ppf(1 - 1e-4, len(choices) - 1)


@pytest.mark.parametrize("name", PUBLISHED)
def test_symbols_are_uniform_and_never_the_blank_or_the_marker(name):
    task = variable_copying(name, 0)
    remembered, vocabulary, *_ = PUBLISHED[name]
    symbols = task.evaluation_set("test", 2000).targets[-remembered:]
    counts = torch.bincount(symbols.flatten(), minlength=vocabulary).double()
    assert counts[0] == counts[-1] == 0
    expected = 2000 * remembered / (vocabulary - 2)
    statistic = ((counts[1:-1] - expected) ** 2 / expected).sum()
    assert statistic < chi2.ppf(1 - 1e-4, vocabulary - 3)


def test_no_fixed_delay_solves_it():
    task = variable_copying(blanks=100)
    batch = task.evaluation_set("validation", 200)
    recalled = batch.targets[-10:]
    for delay in range(11, 110):
        delayed = batch.inputs.roll(delay, 0)[-10:].argmax(2)
        assert (delayed == recalled).float().mean() < 0.3


def test_baseline_is_the_logarithm_of_the_symbols():
    assert variable_copying().baseline == pytest.approx(2.0794, abs=5e-5)
    assert variable_copying("gu-2023").baseline == pytest.approx(math.log(14))


def test_evaluation_set_never_changes():
    task = variable_copying()
    assert task.evaluation_hash("validation", 100) == VALIDATION_SHA256
    assert task.evaluation_hash("test", 100) == TEST_SHA256


# Recorded once. A change here means that no earlier result can be compared with a later one.
VALIDATION_SHA256 = "d26161da76e97c69ae9cdd0aaf3531cf05bc471a128c831a20f097762b44aa4d"
TEST_SHA256 = "a05390a9303226209ebb2f3e0448e42ab655d46799fbd4673a6283f107ce16a7"


def test_blanks_below_zero_are_refused():
    with pytest.raises(SettingError, match=r"^task\.blanks: .*>= 0, found -1"):
        parse(VariableCopyingSettings, {"blanks": -1}, "task")


@pytest.mark.parametrize("name", PUBLISHED)
def test_example_is_short_at_any_size(name):
    rows = variable_copying(name).example().splitlines()
    assert len(rows[0]) == len(rows[1]) <= 100
    assert "M" in rows[0]
