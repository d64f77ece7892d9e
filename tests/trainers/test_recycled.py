"""Memory of batches that is used again, and never while anybody holds it."""

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import one_hot

from longhaul_trainers.memory import LEAST_BYTES
from longhaul_trainers.tasks.base import Batch
from longhaul_trainers.tasks.recycled import KEPT, KEPT_BYTES, MOST_BYTES, Recycled
from longhaul_trainers.tasks.stretches import Stretches
from longhaul_trainers.tasks.symbolic import SPARSE, one_hot_inputs

SHAPE = (LEAST_BYTES // 400 + 1, 10, 10)


def address(tensor):
    return tensor.untyped_storage().data_ptr()


def test_all_that_are_held_are_different_and_few_are_kept():
    memory = Recycled()
    held = [memory.blank(0.0, *SHAPE).tensor for _ in range(KEPT + 3)]
    assert len({address(one) for one in held}) == KEPT + 3
    assert len(memory._kept) == KEPT
    assert memory.blank(0.0, *SHAPE[:2], 11).tensor.shape == (*SHAPE[:2], 11)


def test_memory_that_nobody_holds_is_used_again():
    memory = Recycled()
    first = address(memory.blank(0.0, *SHAPE).tensor)
    assert address(memory.blank(0.0, *SHAPE).tensor) == first


def test_memory_is_left_alone_while_a_view_or_a_graph_holds_it():
    memory = Recycled()
    tensor = memory.blank(1.0, *SHAPE).tensor
    view = tensor[3:].unsqueeze(1)
    del tensor
    other = memory.blank(2.0, *SHAPE).tensor
    assert (view == 1).all()
    weight = torch.ones((), requires_grad=True)
    loss = (view * weight).sum()  # keeps the view for the backward pass
    del view
    memory.blank(3.0, *SHAPE).tensor.fill_(3)
    loss.backward()
    assert weight.grad == SHAPE[0] * 100 - 300
    assert (other == 2).all()


def test_small_ones_are_made_anew():
    memory = Recycled()
    assert memory.blank(0.0, 2, 3).tensor.shape == (2, 3)
    assert not memory._kept


def test_few_large_ones_are_kept():
    memory = Recycled()
    held = [memory.blank(0.0, MOST_BYTES // 4).tensor for _ in range(3)]
    assert len(held) == 3
    assert sum(one.array.nbytes for one in memory._kept) <= KEPT_BYTES


@pytest.mark.parametrize(
    "write", [None, lambda batch: batch.mul_(0.5), lambda batch: batch.add_(1)]
)
def test_one_hot_inputs_are_right_in_memory_that_others_wrote_to(write):
    generator = torch.Generator().manual_seed(0)
    addresses = set()
    for _ in range(3):
        codes = torch.randint(SPARSE + 1, (40, 30), generator=generator)
        inputs = one_hot_inputs(codes.numpy(), SPARSE)
        assert torch.equal(inputs, one_hot(codes, SPARSE + 1)[..., :SPARSE].float())
        addresses.add(address(inputs))
        if write is not None:
            write(inputs)
        del inputs
    assert len(addresses) == 1


@pytest.mark.parametrize("write", [None, lambda batch: batch.mul_(2).sub_(1)])
@pytest.mark.parametrize("fill", [0.0, math.nan])
def test_padding_is_right_in_memory_that_others_wrote_to(write, fill):
    addresses = set()
    for lengths in ((30, 1, 7), (2, 29, 30), (5, 5, 5), (9, 1, 6)):
        ends = np.cumsum(lengths)
        rows = np.repeat(1 + np.array(lengths), lengths)[:, None] * np.ones((1, 400))
        bounds = np.stack([ends - lengths, ends], axis=1)
        padded = Stretches(rows.astype(np.float32), bounds).padded(30, fill)
        for b, length in enumerate(lengths):
            assert (padded[:length, b] == 1 + length).all()
            behind = padded[length:, b]
            assert (behind.isnan() if math.isnan(fill) else behind == fill).all()
        addresses.add(address(padded))
        if write is not None:
            write(padded)
        del padded, behind
    assert len(addresses) == 1


def test_the_batch_of_one_trial_is_a_view():
    batch = Batch(torch.randn(3, 2, 4), torch.zeros(1, 2))
    stacked = Batch.stack([batch])
    assert stacked.inputs.shape == (3, 1, 2, 4)
    assert stacked.targets.shape == (1, 1, 2)
    assert address(stacked.inputs) == address(batch.inputs)
    assert stacked.inputs.is_contiguous()
