"""The denoise task: the published draw loses symbols, the corrected one never does."""

import pytest
import torch

from longhaul_trainers.catalogue import TASKS
from longhaul_trainers.settings import parse_component
from longhaul_trainers.tasks.denoise import Denoise, DenoiseSettings


def denoise(protocol="jing-2017-corrected", delay=200):
    return Denoise(DenoiseSettings(protocol=protocol, delay=delay))


def visible(task, size):
    """How many symbols stand before the marker of each sequence."""
    inputs = task.evaluation_set("validation", size).inputs[: task.settings.delay + 9]
    return inputs[:, :, 1:10].sum((0, 2))


def test_the_corrected_protocol_is_the_default():
    assert parse_component(TASKS, "denoise").protocol == "jing-2017-corrected"


@pytest.mark.parametrize("delay", [1, 5, 200])
def test_the_corrected_protocol_never_loses_a_symbol(delay):
    assert (visible(denoise(delay=delay), 2000) == 10).all()


def test_the_published_protocol_loses_a_symbol_in_a_fifth_of_the_sequences():
    free = 1.0
    for i in range(10):
        free *= 1 - i / 209
    assert 1 - free == pytest.approx(0.196, abs=5e-4)
    lost = (visible(denoise("jing-2017"), 4000) < 10).double().mean().item()
    assert abs(lost - (1 - free)) < 4 * (free * (1 - free) / 4000) ** 0.5


def test_of_two_symbols_at_one_place_the_published_protocol_keeps_the_later():
    task = denoise("jing-2017", delay=5)
    batch = task.evaluation_set("validation", 500)
    for b in range(500):
        spread = batch.inputs[:14, b].argmax(1)
        seen = spread[spread > 0].tolist()
        wanted = batch.targets[-10:, b].tolist()
        assert seen[-1] == wanted[-1]
        remaining = iter(wanted)
        assert all(code in remaining for code in seen)


def test_the_published_marker_is_all_zeros():
    task = denoise("jing-2017")
    inputs = task.training_batch(0, 0, 8).inputs
    assert task.input_size == 10
    assert (inputs[209] == 0).all()
    others = torch.cat([inputs[:209], inputs[210:]])
    assert (others.sum(2) == 1).all()


def test_the_corrected_marker_has_an_input_of_its_own():
    task = denoise()
    inputs = task.training_batch(0, 0, 8).inputs
    assert task.input_size == 11
    assert (inputs[209, :, 10] == 1).all()
    assert inputs[:, :, 10].sum() == 8
    assert (inputs.sum(2) == 1).all()


@pytest.mark.parametrize("name", Denoise.protocols)
def test_layout_and_training_as_published(name):
    task = denoise(name)
    batch = task.training_batch(3, 4, 30)
    assert task.length == 220
    assert (task.protocol.batch_size, task.protocol.steps) == (128, 10_000)
    assert (batch.inputs[210:, :, 0] == 1).all()
    assert (batch.targets[:210] == 0).all()
    assert batch.targets[210:].min() == 1
    assert batch.targets[210:].max() == 9


def test_both_protocols_ask_for_the_same_symbols():
    one, other = (denoise(name).training_batch(1, 1, 9).targets for name in Denoise.protocols)
    assert torch.equal(one, other)


def test_baseline_has_the_published_value():
    assert denoise().baseline == pytest.approx(0.09987, abs=5e-6)


def test_accuracy_is_of_the_recalled_symbols_alone():
    task = denoise(delay=20)
    targets = task.training_batch(0, 0, 8).targets
    all_blank = torch.zeros(task.length, 8, 10)
    all_blank[:, :, 0] = 1
    assert task.metrics(all_blank, targets)["accuracy"] == 0


def test_evaluation_set_never_changes():
    hashes = [
        denoise(name).evaluation_hash("validation", 100) for name in sorted(Denoise.protocols)
    ]
    assert hashes == SHA256


# Recorded once. A change here means that no earlier result can be compared with a later one.
SHA256 = [
    "a9cd40b6f253c2584dcd79bf7e7484218742fac70ba4f3908eb5d4305f2729fd",
    "e987e2a90f7919d6b4ad99ce1e71d5029b742b31bc3491c545482feda759632e",
]
