"""Memory of batches that is used again, and never while anybody holds it."""

import torch

from longhaul_trainers.tasks.base import Batch
from longhaul_trainers.tasks.recycled import KEPT, LEAST_BYTES, Recycled

SHAPE = (LEAST_BYTES // 400 + 1, 10, 10)


def address(tensor):
    return tensor.untyped_storage().data_ptr()


def test_memory_that_nobody_holds_is_used_again():
    memory = Recycled()
    first = address(memory.empty(*SHAPE))
    assert address(memory.empty(*SHAPE)) == first


def test_memory_is_left_alone_while_a_view_or_a_graph_holds_it():
    memory = Recycled()
    tensor = memory.empty(*SHAPE).fill_(1)
    view = tensor[3:].unsqueeze(1)
    del tensor
    other = memory.empty(*SHAPE).fill_(2)
    assert (view == 1).all()
    weight = torch.ones((), requires_grad=True)
    loss = (view * weight).sum()  # keeps the view for the backward pass
    del view
    memory.empty(*SHAPE).fill_(3)
    loss.backward()
    assert weight.grad == SHAPE[0] * 100 - 300
    assert (other == 2).all()


def test_all_that_are_held_are_different_and_few_are_kept():
    memory = Recycled()
    held = [memory.empty(*SHAPE) for _ in range(5)]
    assert len({address(one) for one in held}) == 5
    assert len(memory._arrays) == KEPT
    assert memory.empty(*SHAPE[:2], 11).shape == (*SHAPE[:2], 11)


def test_small_ones_are_made_anew():
    memory = Recycled()
    assert memory.empty(2, 3).shape == (2, 3)
    assert not memory._arrays


def test_the_batch_of_one_trial_is_a_view():
    batch = Batch(torch.randn(3, 2, 4), torch.zeros(1, 2))
    stacked = Batch.stack([batch])
    assert stacked.inputs.shape == (3, 1, 2, 4)
    assert stacked.targets.shape == (1, 1, 2)
    assert address(stacked.inputs) == address(batch.inputs)
    assert stacked.inputs.is_contiguous()
