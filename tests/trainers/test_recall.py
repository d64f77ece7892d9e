"""The recall task: pairs, a question and its digit."""

import pytest
import torch
from scipy.stats import chi2

from longhaul_trainers.errors import SettingError
from longhaul_trainers.settings import parse
from longhaul_trainers.tasks.recall import Recall, RecallSettings


def recall(length=50):
    return Recall(RecallSettings(length=length))


@pytest.mark.parametrize("length", [2, 6, 50])
def test_layout_as_published(length):
    task = recall(length)
    keys = length // 2
    batch = task.training_batch(2, 1, 40)
    codes = batch.inputs.argmax(2)
    assert task.length == length + 3
    assert task.input_size == keys + 11
    assert (batch.inputs.sum(2) == 1).all()
    every_key = torch.arange(1, keys + 1).unsqueeze(1).expand(-1, 40)
    assert torch.equal(codes[0:length:2].sort(0).values, every_key)
    assert codes[1:length:2].min() >= keys + 1
    assert codes[1:length:2].max() <= keys + 10
    assert (codes[length : length + 2] == 0).all()
    assert (codes[-1] >= 1).all()
    assert (codes[-1] <= keys).all()


def test_every_place_is_asked_for_and_every_digit_answered_alike():
    batch = recall(10).evaluation_set("test", 4000)
    codes = batch.inputs.argmax(2)
    place = (codes[0:10:2] == codes[-1]).int().argmax(0)
    for found, cells in ((place, 5), (batch.targets[0], 10)):
        counts = torch.bincount(found, minlength=cells).double()
        statistic = ((counts - 4000 / cells) ** 2 / (4000 / cells)).sum()
        assert statistic < chi2.ppf(1 - 1e-4, cells - 1)


def test_the_answer_is_read_at_the_last_step():
    task = recall()
    assert task.reads == "last"
    assert task.training_batch(0, 0, 5).targets.shape == (1, 5)


def test_training_and_baseline_as_published():
    task = recall()
    assert (task.protocol.batch_size, task.protocol.steps) == (128, 10_000)
    assert task.baseline == pytest.approx(2.303, abs=5e-4)


def test_evaluation_set_never_changes():
    assert recall().evaluation_hash("validation", 100) == SHA256


# Recorded once. A change here means that no earlier result can be compared with a later one.
SHA256 = "b3e6ce12a058e6ef6403ef6b28457f80a9312aeb43f83eb70feecc5b039e7a87"


def test_half_a_pair_is_refused():
    with pytest.raises(SettingError, match=r"^task\.length: expected an even number, found 7"):
        parse(RecallSettings, {"length": 7}, "task")
