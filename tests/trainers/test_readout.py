"""The readout of a slot has the bits that it has alone, whatever the number of outputs."""

import pytest
import torch

from longhaul_trainers.catalogue import TASKS
from longhaul_trainers.settings import parse_component
from longhaul_trainers.training.model import SequenceModel
from longhaul_trainers.training.settings import TrialConfig

# Adding reads one output at the last step, copying nine at every step.
TASK_NAMES = ["adding", "copying"]


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", TASK_NAMES)
@pytest.mark.parametrize(("hidden_size", "batch_size"), [(16, 16), (32, 20), (17, 20), (128, 50)])
def test_a_slot_reads_and_learns_the_same_alone_and_among_others(name, hidden_size, batch_size):
    config = {"task": name, "cell": {"name": "rnn", "hidden_size": hidden_size}}
    cell = TrialConfig.parse(config).cell
    task = TASKS.get(name)(parse_component(TASKS, name))
    hidden = torch.randn(
        4, 3, batch_size, hidden_size, generator=torch.Generator().manual_seed(hidden_size)
    )
    together = gradients(task, [cell] * 3, [0, 1, 2], hidden)
    for p in range(3):
        alone = gradients(task, [cell], [p], hidden[:, p : p + 1])
        for mine, shared in zip(alone, together, strict=True):
            assert torch.equal(mine[0], shared[p])


def gradients(task, cells, seeds, hidden):
    """Readouts and their gradients, slots first: by weight, bias and hidden states."""
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    model = SequenceModel(task, cells, generators)
    states = hidden.clone().requires_grad_()
    read = model.readout(states)
    model.zero_grad()
    (read**2).sum().backward()
    found = [read, model.readout_weight.grad, model.readout_bias.grad, states.grad.transpose(0, 1)]
    return [tensor.detach() for tensor in found]
