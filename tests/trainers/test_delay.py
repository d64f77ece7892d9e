"""The continuous delay: how its noise is made, and what it gives away."""

import math

import numpy as np
import pytest
import torch

from longhaul_trainers.counter import Stream
from longhaul_trainers.errors import SettingError
from longhaul_trainers.normal import normal32
from longhaul_trainers.settings import parse
from longhaul_trainers.tasks.delay import Delay, DelaySettings


def delay(**settings):
    return Delay(parse(DelaySettings, settings, "task"))


def test_sizes_are_as_published():
    task = delay()
    assert (task.length, task.settings.delay, task.settings.frequencies) == (4000, 1000, 1000)
    # 16,384 sequences an epoch, in whole batches of 50
    assert task.protocol.steps == 20 * (16_384 // 50)


@pytest.mark.parametrize("length", [12, 13])
def test_noise_is_the_sum_of_its_frequencies(length):
    task = delay(length=length, delay=5, bandwidth=0.3)
    words = Stream("any").words(3, task.words_per_sequence)
    heard = task.sequences(words).inputs[:, :, 0]
    period, count = 2 * math.ceil(length / 2), int(0.3 * 2 * math.ceil(length / 2))
    for b, drawn in enumerate(normal32(words).astype(float)):
        cosines, sines = drawn[:count], drawn[count : 2 * count]

        def noise(t, cosines=cosines, sines=sines):
            angles = [2 * math.pi * j * t / period for j in range(1, count + 1)]
            parts = zip(angles, cosines, sines, strict=True)
            return sum(g * math.cos(a) - h * math.sin(a) for a, g, h in parts) / 2 / count**0.5

        wanted = [noise(t) - noise(0) for t in range(length)]
        assert heard[:, b].tolist() == pytest.approx(wanted, abs=1e-6)


def test_noise_has_no_higher_frequency_and_the_published_strength():
    heard = delay().evaluation_set("test", 200).inputs[:, :, 0].double().numpy()
    spectrum = np.abs(np.fft.rfft(heard, axis=0))
    assert spectrum[1001:].max() < 1e-3
    assert spectrum[1:1001].min() > 0
    power = np.square(spectrum[1:1001]).sum() * 2 / 4000**2 / 200
    assert power == pytest.approx(0.25, rel=0.01)


def test_noise_starts_from_0_and_is_repeated_after_the_delay():
    batch = delay(length=50, delay=20).training_batch(1, 2, 3)
    assert (batch.inputs[0] == 0).all()
    assert (batch.targets[:20] == 0).all()
    assert torch.equal(batch.targets[20:], batch.inputs[:30])
    assert (batch.inputs[1:] != 0).all()


def test_baseline_is_the_targets_power():
    assert delay().baseline == pytest.approx(0.375, rel=1e-6)
    task = delay(length=30, delay=6, bandwidth=0.1)
    powers = task.evaluation_set("test", 40_000).targets.double().square().mean((0, 2))
    error = powers.std().item() / 40_000**0.5
    assert task.baseline == pytest.approx(powers.mean().item(), abs=4 * error)


def test_the_first_value_that_is_taken_from_all_gives_a_quarter_away():
    batch = delay(length=400, delay=100).evaluation_set("test", 2000)
    heard, wanted = (part[100:].flatten().double() for part in (batch.inputs, batch.targets))
    slope = (heard * wanted).mean() / heard.square().mean()
    left = (wanted - slope * heard).square().mean() / wanted.square().mean()
    assert left.item() == pytest.approx(0.75, abs=0.02)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"length": 50, "delay": 50}, r"task\.delay: must be below length, 50, found 50"),
        ({"length": 10, "delay": 2, "bandwidth": 0.09}, r"task\.bandwidth: must be at least 0\.1"),
        ({"bandwidth": 0.5}, r"task\.bandwidth: .*< 0\.5"),
    ],
)
def test_what_makes_no_noise_is_refused(settings, message):
    with pytest.raises(SettingError, match=message):
        delay(**settings)


@pytest.mark.parametrize("length", [10, 30, 70, 4000])
def test_a_frequency_at_the_bandwidth_itself_is_in_the_noise(length):
    assert delay(length=length, delay=2, bandwidth=0.3).settings.frequencies == length * 3 // 10
