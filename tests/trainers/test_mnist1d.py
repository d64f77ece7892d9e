"""MNIST-1D: the recipe step by step, and that it is as hard as published."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.stats import chi2

from longhaul_trainers.counter import Stream, integers, uniform64
from longhaul_trainers.normal import normal32
from longhaul_trainers.settings import parse
from longhaul_trainers.tasks.mnist1d import DEVIATION, MEAN, MNIST1D, MNIST1DSettings
from longhaul_trainers.tasks.mnist1d_curves import TEMPLATES


def mnist1d(protocol="greydanus-2020", **settings):
    return MNIST1D(parse(MNIST1DSettings, {"protocol": protocol} | settings))


def curve(words):
    """One sequence by the published recipe, from the words it is made of."""
    digit = int(integers(words[:1], 10)[0])
    for_padding, for_scale, for_places, for_shear = uniform64(words[1:5])
    noise = normal32(words[5:]).astype(float)
    padded = np.concatenate([TEMPLATES[digit] + 1e-8, np.zeros(36 + int(for_padding * 25))])
    at = np.linspace(0, 1, 72)
    wide = np.interp(at, np.linspace(0, 1, len(padded)), padded) * (1 + 0.4 * (for_scale - 0.5))
    wide = np.roll(wide, int(for_places * 48))
    drawn = wide != 0
    wide = np.where(drawn, wide, gaussian_filter(0.25 * noise[:72], 2)) + 0.02 * noise[72:]
    wide = wide - 0.75 * (for_shear - 0.5) * np.linspace(-0.5, 0.5, 72)
    return digit, np.interp(np.linspace(0, 1, 40), at, wide)


def test_sequences_follow_the_recipe():
    task = mnist1d()
    words = Stream("any").words(50, task.words_per_sequence)
    batch = task.sequences(words)
    for b in range(50):
        digit, wanted = curve(words[b])
        assert batch.targets[0, b] == digit
        found = batch.inputs[:, b, 0].numpy() * DEVIATION + MEAN
        assert found == pytest.approx(wanted, abs=1e-6)


def test_templates_begin_and_end_at_0():
    assert TEMPLATES.shape == (10, 12)
    assert TEMPLATES[:, 0].tolist() == [0.0] * 10
    assert TEMPLATES[:, -1] == pytest.approx(np.zeros(10), abs=1e-12)
    assert TEMPLATES.std(1) == pytest.approx(np.full(10, 1 / 6))


def test_numbers_have_mean_0_and_deviation_1():
    words = Stream("any").words(20_000, mnist1d().words_per_sequence)
    inputs = mnist1d().sequences(words).inputs[:, :, 0]
    means = inputs.mean(0)
    assert abs(means.mean()) < 4 * means.std() / len(means) ** 0.5 + 1e-4
    assert inputs.std().item() == pytest.approx(1, abs=0.01)


def test_digits_are_equally_likely():
    words = Stream("any").words(20_000, mnist1d().words_per_sequence)
    counts = mnist1d().sequences(words).targets.flatten().bincount(minlength=10).double()
    assert ((counts - 2000) ** 2 / 2000).sum() < chi2.ppf(1 - 1e-4, 9)


def test_shuffled_steps_have_one_order_in_all_sets():
    plain, shuffled = mnist1d(), mnist1d("greydanus-2020-shuffled")
    orders = set()
    for part in ("validation", "test", "training"):
        batches = [
            task.training_batch(0, 0, 20) if part == "training" else task.evaluation_set(part, 20)
            for task in (plain, shuffled)
        ]
        assert torch.equal(batches[0].targets, batches[1].targets)
        same = (batches[0].inputs[:, None, :, 0] == batches[1].inputs[None, :, :, 0]).all(2)
        assert torch.equal(same.sum(0), torch.ones(40, dtype=torch.int64))
        orders.add(tuple(same.int().argmax(0).tolist()))
    (order,) = orders
    assert sorted(order) == list(range(40))
    assert sum(step == place for place, step in enumerate(order)) < 10


def test_logistic_regression_is_as_good_as_published():
    # imported here: sklearn takes a second
    from sklearn.linear_model import LogisticRegression

    task = mnist1d()
    training, test = task.training_batch(0, 0, 4000), task.evaluation_set("test", 1000)
    model = LogisticRegression(max_iter=200)
    model.fit(training.inputs[:, :, 0].T.numpy(), training.targets[0].numpy())
    accuracy = model.score(test.inputs[:, :, 0].T.numpy(), test.targets[0].numpy())
    assert accuracy == pytest.approx(task.protocol.published[0].value, abs=0.05)


# Recorded once. A change here means that no earlier result can be compared with a later one.
TEST_SHA256 = "700e41c57c39e9aff9a4a13d5083a4145e71e4575851cd6c90b5024019bead71"


def test_evaluation_set_never_changes():
    assert mnist1d().evaluation_hash("test", 1000) == TEST_SHA256
