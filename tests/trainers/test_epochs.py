"""Passing a fixed training set epoch by epoch."""

import numpy as np
import pytest

from longhaul_trainers.tasks import epochs
from longhaul_trainers.tasks.epochs import EpochOrder


def passed(order, seed, batch_size, steps, first=0):
    """The sequences of some steps, end to end."""
    batches = [order.batch(seed, step, batch_size) for step in range(first, first + steps)]
    assert all(batch.shape == (batch_size,) for batch in batches)
    return np.concatenate(batches)


@pytest.mark.parametrize("batch_size", [1, 4, 5, 10, 23])
def test_every_epoch_passes_each_sequence_once(batch_size):
    flat = passed(EpochOrder(10, "toy"), 3, batch_size, 40)
    whole = flat[: len(flat) // 10 * 10].reshape(-1, 10)
    assert len(whole) >= 4
    assert (np.sort(whole, axis=1) == np.arange(10)).all()
    assert len({tuple(epoch) for epoch in whole[:4].tolist()}) == 4


def test_a_batch_in_which_an_epoch_ends_goes_on_with_the_next():
    order = EpochOrder(10, "toy")
    batch = order.batch(0, 2, 4)
    assert batch.tolist() == [*order.epoch(0, 0)[8:], *order.epoch(0, 1)[:2]]


def test_the_order_depends_on_seed_and_epoch_alone():
    forwards = passed(EpochOrder(50, "toy"), 7, 8, 30)
    other = EpochOrder(50, "toy")
    passed(other, 8, 9, 30)
    backwards = [other.batch(7, step, 8) for step in reversed(range(30))]
    np.testing.assert_array_equal(forwards, np.concatenate(backwards[::-1]))
    # The batch size only cuts what is passed.
    np.testing.assert_array_equal(forwards, passed(EpochOrder(50, "toy"), 7, 16, 15))
    assert (forwards[:50] != passed(other, 8, 8, 30)[:50]).any()
    assert (forwards[:50] != passed(EpochOrder(50, "other"), 7, 8, 30)[:50]).any()


def test_orders_are_uniform():
    order = EpochOrder(4, "toy")
    seen = [tuple(order.epoch(seed, 0).tolist()) for seed in range(4800)]
    counts = np.unique(seen, axis=0, return_counts=True)[1]
    assert len(counts) == 24
    assert ((counts - 200) ** 2 / 200).sum() < 57.1  # chi-square, 23 degrees, p = 1e-4


def test_forgetting_an_order_changes_nothing(monkeypatch):
    kept = passed(EpochOrder(20, "toy"), 1, 3, 60)
    monkeypatch.setattr(epochs, "KEPT_BYTES", 0)
    forgetful = EpochOrder(20, "toy")
    np.testing.assert_array_equal(kept, passed(forgetful, 1, 3, 60))
    assert len(forgetful._kept) <= 2


def test_an_empty_training_set_is_refused():
    with pytest.raises(ValueError, match="0 sequences"):
        EpochOrder(0, "toy")
