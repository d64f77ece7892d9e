"""State tracking: lengths, where the answer is due, what comes after it."""

import math
from collections import Counter

import numpy as np
import oracles
import pytest
import torch
from scipy.stats import chi2

from longhaul_trainers.counter import Stream
from longhaul_trainers.errors import SettingError
from longhaul_trainers.settings import parse
from longhaul_trainers.tasks.base import IGNORED
from longhaul_trainers.tasks.languages import LANGUAGES
from longhaul_trainers.tasks.state_tracking import StateTracking, StateTrackingSettings

oracle = oracles.oracle("task", "state_tracking")

# The numbers of symbols before question mark or equals sign, in training and in evaluation.
SYMBOLS = {
    ("beck-2024", "parity"): (range(2, 40), range(39, 256)),
    ("beck-2024", "even_pairs"): (range(2, 40), range(39, 256)),
    ("beck-2024", "cycle_navigation"): (range(2, 40), range(39, 256)),
    ("beck-2024", "modular_arithmetic"): (range(1, 38, 2), range(37, 254, 2)),
    ("deletang-2023", "parity"): (range(1, 41), range(41, 501)),
    ("deletang-2023", "even_pairs"): (range(1, 41), range(41, 501)),
    ("deletang-2023", "cycle_navigation"): (range(1, 41), range(41, 501)),
    ("deletang-2023", "modular_arithmetic"): (range(1, 40, 2), range(41, 500, 2)),
}
every_case = pytest.mark.parametrize(("protocol", "language"), sorted(SYMBOLS))


def tracking(protocol="beck-2024", language="parity", **settings):
    settings = StateTrackingSettings(protocol=protocol, language=language, **settings)
    return StateTracking(settings)


def test_every_protocol_and_language_is_written_down_here():
    assert {protocol for protocol, _ in SYMBOLS} == set(StateTracking.protocols)
    assert {language for _, language in SYMBOLS} == set(LANGUAGES)


@every_case
def test_lengths_as_published(protocol, language):
    task = tracking(protocol, language)
    training, evaluation = SYMBOLS[protocol, language]
    asked = Counter(map(len, oracle.strings(task, task.training_batch(0, 0, 3000))))
    assert set(asked) == set(training)
    longer = set(map(len, oracle.strings(task, task.evaluation_set("test", 600))))
    assert longer <= set(evaluation)
    assert len(longer) > len(evaluation) / 2
    assert set(task.evaluation_lengths) == set(evaluation)
    expected = task.string_lengths(task.protocol.shortest, 40)
    statistic = 0.0
    for length, times in Counter(expected).items():
        wanted = 3000 * times / len(expected)
        statistic += (asked[length] - wanted) ** 2 / wanted
    assert statistic < chi2.ppf(1 - 1e-4, len(training) - 1)


@every_case
def test_evaluation_is_longer_than_training(protocol, language):
    task = tracking(protocol, language)
    training, longer = task.training_batch(0, 0, 2), task.evaluation_set("validation", 2)
    steps = (39, 255) if protocol == "beck-2024" else (41, 501)
    assert (len(training.inputs), len(training.targets)) == (steps[0], steps[0])
    assert (len(longer.inputs), len(longer.targets)) == (steps[1], steps[1])
    assert (task.length, task.evaluation_steps) == steps


@every_case
def test_the_answer_is_due_once_and_nothing_comes_after_it(protocol, language):
    task = tracking(protocol, language)
    asks = protocol == "deletang-2023" or language == "modular_arithmetic"
    for batch in (task.training_batch(1, 0, 100), task.evaluation_set("validation", 30)):
        assert ((batch.targets != IGNORED).sum(0) == 1).all()
        for b, (string, t) in enumerate(
            zip(oracle.strings(task, batch), oracle.due(batch), strict=True)
        ):
            assert t == len(string) - (not asks)
            assert (batch.inputs[: t + 1, b].sum(1) == 1).all()
            assert (batch.inputs[t + 1 :, b] == 0).all()
            assert batch.targets[t, b] == oracle.answer(task, string)
            if asks:
                assert batch.inputs[t, b, -1] == 1
                assert batch.inputs[:t, b, -1].sum() == 0


@every_case
def test_outputs_after_the_answer_change_neither_loss_nor_accuracy(protocol, language):
    task = tracking(protocol, language)
    batch = task.evaluation_set("test", 20)
    outputs = oracle.oracle(task, batch)
    after = torch.arange(len(outputs))[:, None] > torch.tensor(oracle.due(batch))
    before = torch.arange(len(outputs))[:, None] < torch.tensor(oracle.due(batch))
    outputs[after] = math.pi
    outputs[before] = -7.0
    assert task.loss(outputs, batch.targets) < 1e-6
    assert task.metrics(outputs, batch.targets)["accuracy"] == 1


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_odds_are_those_of_all_strings(language):
    found = LANGUAGES[language]
    odds = found.odds(5)
    assert all(one.sum() == pytest.approx(1, abs=1e-12) for one in odds)
    size = 40_000
    answers = found.answer(found.strings(Stream("odds", language).words(size, 5)))
    for t in range(5):
        counts = np.bincount(answers[:, t], minlength=found.answers)
        wanted = odds[t] * size
        possible = wanted > 0
        assert (counts[~possible] == 0).all()
        statistic = ((counts - wanted)[possible] ** 2 / wanted[possible]).sum()
        assert statistic < chi2.ppf(1 - 1e-4, max(1, possible.sum() - 1))


def test_multiplication_comes_before_addition_and_subtraction():
    codes = [[2, 6, 3, 7, 4, 5, 1], [1, 6, 1, 6, 1, 6, 1], [3, 7, 4, 7, 2, 6, 4]]
    answers = LANGUAGES["modular_arithmetic"].answer(np.array(codes))
    assert answers[:, -1].tolist() == [(2 - 3 * 4 + 1) % 5, -2 % 5, (3 * 4 * 2 - 4) % 5]


def test_parity_and_even_pairs_have_the_baseline_of_a_coin():
    assert tracking().baseline == pytest.approx(math.log(2))
    assert tracking(language="even_pairs").baseline == pytest.approx(math.log(2))
    # of deletang-2023's 40 lengths, one is a single symbol, which has no pairs
    single = tracking("deletang-2023", "even_pairs").baseline
    assert single == pytest.approx(math.log(2) * 39 / 40)


def test_five_answers_have_almost_the_baseline_of_a_die_with_five_sides():
    for language in ("cycle_navigation", "modular_arithmetic"):
        assert 0.98 * math.log(5) < tracking(language=language).baseline < math.log(5)


def test_evaluation_set_never_changes():
    hashes = [tracking(*case).evaluation_hash("validation", 50) for case in sorted(SYMBOLS)]
    assert hashes == SHA256


# Recorded once. A change here means that no earlier result can be compared with a later one.
SHA256 = [
    "cba6798ea16f41293d53233696b34eccd567fd32982de790c07e89b8927eb113",
    "df3d7680ae39f28b3be3d6d2a126470e32e7571b29ff6e4b06cb22f285ed59dc",
    "6492e9a05616d889eacdb9df684a80eee8efe7eef2afff30bfb1f6839924946e",
    "5aa813a5f8b84ac91fe87654b83b50de0b77b4b21ee4dd3d485ffc23c6709352",
    "c5df3749a2752158dc7c3712aefbf5835076c157b5c2857a6b6ab166ce3708e4",
    "70edb21b116f1ac1d2f41f21d081069672c3ae19ffadf46746accb63c36aeeac",
    "09d329061f30c63c1ab1ae00eda5846f96014a3f8bf0560ec68f75102db6fb5a",
    "b48746424d9722ed19fbf5ebeefbfdbc2e14d259d86cb0d7978e9b874177fd5a",
]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"length": 2}, "length: beck-2024 needs at least 3, found 2"),
        ({"length": 256}, r"evaluation_length: expected a number > length 256, found 256"),
        ({"evaluation_length": 40}, r"evaluation_length: expected a number > length 40, found 40"),
    ],
)
def test_lengths_without_strings_are_refused(settings, message):
    with pytest.raises(SettingError, match=rf"^task\.{message}"):
        parse(StateTrackingSettings, settings, "task")


@every_case
def test_the_shortest_settings_make_strings(protocol, language):
    shortest = StateTracking.protocols[protocol].shortest
    task = tracking(protocol, language, length=shortest, evaluation_length=shortest + 1)
    for batch in (task.training_batch(0, 0, 20), task.evaluation_set("test", 20)):
        assert ((batch.targets != IGNORED).sum(0) == 1).all()


@every_case
def test_example_shows_one_string_and_its_answer(protocol, language):
    task = tracking(protocol, language)
    _, targets, legend = task.example().splitlines()
    (string,) = oracle.strings(task, task.training_batch(0, 0, 1))
    shown = [cell for cell in targets.split()[1:] if cell not in "-…"]
    assert shown == [str(oracle.answer(task, string))]
    assert f"{task.length} steps, {task.evaluation_steps} in evaluation" in legend
