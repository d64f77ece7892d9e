"""Batches that are made ahead of their step, and taken from a training set in memory."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from longhaul_trainers.catalogue import TASKS
from longhaul_trainers.settings import parse
from longhaul_trainers.tasks.ahead import BLOCK_BYTES, KEPT_BLOCKS, MOST_STEPS, StepsAhead
from longhaul_trainers.tasks.base import Batch
from longhaul_trainers.tasks.by_sequence import BySequence
from longhaul_trainers.tasks.epochs import EpochOrder


def counting(numbers=1):
    """Batches that say whose they are, and what was asked for to make them."""
    asked = []

    def make(seed, step, steps, batch_size):
        asked.append((seed, step, steps))
        for at in range(step, step + steps):
            yield Batch(torch.full((numbers, batch_size, 1), 1000.0 * seed + at), torch.zeros(1))

    return SimpleNamespace(ahead=StepsAhead(make), asked=asked)


def shown(made, seed, step, batch_size=2):
    batch = made.ahead.batch(seed, step, batch_size)
    assert batch.inputs.shape[1] == batch_size
    return batch.inputs.unique().tolist()


def test_small_batches_are_made_for_some_steps_at_once():
    made = counting()
    for step in range(3 * MOST_STEPS):
        assert shown(made, 1, step) == [1000 + step]
    # The size of a batch is known from the first one.
    assert made.asked == [(1, 0, 1)] + [(1, at * MOST_STEPS, MOST_STEPS) for at in range(3)]


def test_large_batches_are_made_one_at_a_time():
    made = counting(numbers=BLOCK_BYTES // 8)
    assert [shown(made, 1, step) for step in range(3)] == [[1000], [1001], [1002]]
    assert made.asked == [(1, 0, 1), (1, 1, 1), (1, 2, 1)]


def test_trials_at_different_steps_and_batch_sizes_do_not_disturb_each_other():
    made = counting()
    for at in range(40):
        for seed, step in ((1, at), (2, 7 * at + 5), (3, 100 - at)):
            for batch_size in (2, 3):
                assert shown(made, seed, step, batch_size) == [1000 * seed + step]
    assert shown(made, 1, 3) == shown(made, 1, 3) == [1003]


def test_trials_of_one_seed_at_different_steps_each_have_their_block():
    made = counting()
    shown(made, 1, 0)
    made.asked.clear()
    for at in range(MOST_STEPS):
        for step in (at, 5 * MOST_STEPS + at):
            assert shown(made, 1, step) == [1000 + step]
    assert made.asked == [(1, 0, MOST_STEPS), (1, 5 * MOST_STEPS, MOST_STEPS)]


def test_a_step_that_is_asked_for_again_is_made_alone():
    # as for a slot of a pack that is idle
    made = counting()
    for _ in range(4):
        assert shown(made, 1, 21) == [1021]
    assert made.asked == [(1, 21, 1), (1, 16, MOST_STEPS), (1, 21, 1), (1, 21, 1)]


def test_blocks_of_trials_that_were_stopped_give_way():
    made = counting()
    for seed in range(KEPT_BLOCKS + 10):
        shown(made, seed, 1)
    assert len(made.ahead._blocks) == KEPT_BLOCKS
    assert shown(made, KEPT_BLOCKS + 9, 2) == [1000 * (KEPT_BLOCKS + 9) + 2]


@pytest.mark.parametrize("name", ["adding", "copying", "mnist1d", "parenthesis", "recall"])
def test_a_batch_made_ahead_lies_in_memory_as_one_made_alone(name):
    # Strides have a say in what kernels compute.
    task = TASKS.get(name)(parse(TASKS.settings_type(name), {}))
    alone, ahead = (task.training_batch(1, step, 20) for step in (0, 1))
    for one, other in ((alone.inputs, ahead.inputs), (alone.targets, ahead.targets)):
        assert one.is_contiguous()
        assert other.is_contiguous()


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64])
@pytest.mark.parametrize("shape", [(5, 9, 3), (1, 9), (700, 9, 5)])
def test_sequences_are_taken_as_they_are(dtype, shape):
    whole = torch.randn(shape, generator=torch.Generator().manual_seed(0)).mul(100).to(dtype)
    batches = np.array([[4, 0, 8, 4, 3], [1, 1, 7, 2, 0]])
    taken = BySequence(whole).take(batches)
    for one, chosen in zip(taken, batches, strict=True):
        assert torch.equal(one, whole[:, torch.from_numpy(chosen)])
        assert one.dtype == dtype
        assert one.is_contiguous()
        assert (one.data_ptr() - taken[0].data_ptr()) % 64 == 0


@pytest.mark.parametrize("size", [3, 10, 41])
def test_the_order_of_some_steps_is_that_of_each(size):
    order = EpochOrder(size, "any")
    together = order.batches(seed=2, step=5, batch_size=4, steps=9)
    assert together.dtype == np.int64
    for i, batch in enumerate(together):
        assert np.array_equal(batch, order.batch(2, 5 + i, 4))
    laid = np.concatenate([order.epoch(2, epoch) for epoch in range(1 + 14 * 4 // size)])
    assert np.array_equal(together.ravel(), laid[20:56])
