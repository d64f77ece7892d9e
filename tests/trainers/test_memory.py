"""Memory of large tensors that is used again, and never while anybody holds it."""

import resource
import threading

import pytest
import torch

from longhaul_trainers.memory import ALIGNMENT, LEAST_BYTES, SPARE, Memory, reused, reused_as
from longhaul_trainers.training.pack import Pack
from longhaul_trainers.training.settings import TrialConfig

SHAPE = (LEAST_BYTES // 200, 10, 10)


def address(tensor):
    return tensor.untyped_storage().data_ptr()


@pytest.fixture
def memory():
    return Memory()


def ask(memory, *shape, dtype=torch.float32):
    return memory.empty(shape, dtype)


def test_what_nobody_holds_is_used_again(memory):
    first = address(ask(memory, *SHAPE))
    assert address(ask(memory, *SHAPE)) == first
    assert address(ask(memory, *SHAPE[:2], 9)) == first
    halves = ask(memory, SHAPE[0], 5, 10, dtype=torch.float64)
    assert (address(halves), halves.dtype) == (first, torch.float64)


def test_it_is_left_alone_while_a_view_or_a_graph_holds_it(memory):
    tensor = ask(memory, *SHAPE).fill_(1)
    view = tensor[3:].unsqueeze(1)
    del tensor
    other = ask(memory, *SHAPE).fill_(2)
    assert (view == 1).all()
    weight = torch.ones((), requires_grad=True)
    loss = (view * weight).sum()  # keeps the view for the backward pass
    del view
    ask(memory, *SHAPE).fill_(3)
    loss.backward()
    assert weight.grad == SHAPE[0] * 100 - 300
    assert (other == 2).all()


def test_what_others_hold_is_different(memory):
    held = [ask(memory, *SHAPE) for _ in range(9)]
    assert len({address(one) for one in held}) == 9


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64])
def test_it_begins_where_torchs_own_would(memory, dtype):
    held = [ask(memory, SHAPE[0] + i, 10, 11, dtype=dtype) for i in range(4)]
    assert all(one.data_ptr() % ALIGNMENT == 0 for one in held)
    assert all(one.is_contiguous() and not one._is_view() for one in held)


def test_what_is_much_smaller_or_small_is_made_anew(memory):
    assert ask(memory, 2, 3).shape == (2, 3)
    assert memory.size == 0
    large = address(ask(memory, 3, *SHAPE))
    assert address(ask(memory, *SHAPE)) != large


def test_types_that_numpy_has_not_are_torchs_own(memory):
    assert ask(memory, *SHAPE, dtype=torch.bfloat16).dtype == torch.bfloat16
    assert memory.size == 0


def test_what_shapes_that_are_gone_needed_is_given_back(memory):
    for factor in (1, 3, 7, 20, 50):
        held = [ask(memory, factor, *SHAPE) for _ in range(4)]
        most = 4 * 4 * factor * SHAPE[0] * 100
        assert memory.size <= SPARE * most
        del held
    for _ in range(3):
        ask(memory, *SHAPE)
        assert memory.size <= SPARE * most


def test_each_thread_has_its_own():
    found = []

    def work():
        found.append(address(reused(*SHAPE)))

    mine = reused(*SHAPE)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found != [address(mine)]


def test_like_another_tensor_it_is_contiguous_and_of_its_type():
    like = torch.zeros(SHAPE, dtype=torch.float64).transpose(0, 1)
    made = reused_as(like)
    assert (made.shape, made.dtype) == (like.shape, like.dtype)
    assert made.is_contiguous()
    assert reused_as(like, 3, 4).shape == (3, 4)


@pytest.mark.parametrize("cell", ["gru", "lem", "lstm"])
def test_a_training_step_asks_the_system_for_no_pages(cell):
    task = {"name": "copying", "delay": 180}
    training = {"steps": 100, "evaluate_every": 100, "validation_size": 1, "batch_size": 50}
    config = {"task": task, "cell": {"name": cell, "hidden_size": 64}, "training": training}
    pack = Pack([TrialConfig.parse(config)])
    for _ in range(4):
        pack.train_step()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        pack.train_step()
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    states = 200 * 50 * 64 * 4 / resource.getpagesize()
    assert faults / 4 < states / 2
