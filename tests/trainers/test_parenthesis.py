"""The parenthesis task: counts that are held between 0 and 10."""

import pytest
import torch
from scipy.stats import chi2

from longhaul_trainers.tasks.parenthesis import Parenthesis, ParenthesisSettings


def parenthesis(length=200):
    return Parenthesis(ParenthesisSettings(length=length))


def test_sizes_and_training_as_published():
    task = parenthesis()
    assert (task.length, task.input_size, task.output_size) == (200, 30, 110)
    assert (task.protocol.batch_size, task.protocol.steps) == (128, 5_000)


def test_all_symbols_are_equally_likely():
    codes = parenthesis(100).evaluation_set("validation", 300).inputs.argmax(2)
    counts = torch.bincount(codes.flatten(), minlength=30).double()
    assert ((counts - 1000) ** 2 / 1000).sum() < chi2.ppf(1 - 1e-4, 29)


def test_counts_stop_at_ten_and_at_nothing():
    batch = parenthesis(1000).evaluation_set("test", 40)
    codes = batch.inputs.argmax(2)
    held = {0: 0, 10: 0}
    for kind in range(10):
        before = torch.zeros(40, dtype=torch.int64)
        for t in range(1000):
            move = (codes[t] == 2 * kind).long() - (codes[t] == 2 * kind + 1).long()
            wanted = (before + move).clamp(0, 10)
            held[0] += ((before + move) < 0).sum().item()
            held[10] += ((before + move) > 10).sum().item()
            before = batch.targets[t, :, kind]
            assert torch.equal(before, wanted)
    assert min(held.values()) > 0


def test_baseline_is_the_mean_entropy_of_a_count():
    assert parenthesis(1).baseline == pytest.approx(0.146144, abs=1e-6)  # 29/30 to 1/30
    assert parenthesis().baseline == pytest.approx(1.570, abs=5e-4)


def test_loss_and_accuracy_are_means_over_steps_and_kinds():
    task = parenthesis(7)
    batch = task.training_batch(1, 1, 3)
    outputs = torch.randn(7, 3, 110, generator=torch.Generator().manual_seed(2))
    costs, right = [], []
    for t in range(7):
        for b in range(3):
            for kind in range(10):
                logits = outputs[t, b, 11 * kind : 11 * kind + 11].double()
                target = batch.targets[t, b, kind]
                costs.append(logits.logsumexp(0) - logits[target])
                right.append(float(logits.argmax() == target))
    assert task.loss(outputs, batch.targets).item() == pytest.approx(sum(costs).item() / 210)
    accuracy = task.metrics(outputs, batch.targets)["accuracy"].item()
    assert accuracy == pytest.approx(sum(right) / 210)


def test_evaluation_set_never_changes():
    assert parenthesis().evaluation_hash("validation", 50) == SHA256


# Recorded once. A change here means that no earlier result can be compared with a later one.
SHA256 = "099bebcc1a3814bb31e0561c899f65f408c34a4314bb05c268a4968d22a258fb"
