import inspect
import math
from importlib import import_module

import pytest
import torch

import longhaul_trainers.cells.stack as stack_module
from longhaul_trainers.catalogue import CELLS, TASKS
from longhaul_trainers.cells.block import Norm
from longhaul_trainers.cells.mingru import MinGRU, MinGRUSettings, MinLSTM, MinLSTMSettings
from longhaul_trainers.cells.stack import StackedCell
from longhaul_trainers.settings import parse_component
from longhaul_trainers.tasks.adding import Adding
from longhaul_trainers.training.evaluation import EvaluationSet, evaluate
from longhaul_trainers.training.model import SequenceModel
from longhaul_trainers.training.optimizers import AdamSettings, PackOptimizer

STACKED = [name for name in CELLS.names() if issubclass(CELLS.get(name), StackedCell)]
every_stacked_cell = pytest.mark.parametrize("name", STACKED)


def generators(pack, start=0):
    return [torch.Generator().manual_seed(start + p) for p in range(pack)]


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def build(name, pack, inputs=3, **values):
    settings = parse_component(CELLS, {"name": name, "hidden_size": 8} | values)
    return CELLS.get(name)(inputs, [settings] * pack, generators(pack))


def train(cell, seeds, steps=3):
    slots = [AdamSettings(learning_rate=3e-3)] * cell.pack_size
    optimizer = PackOptimizer(cell.parameter_groups(), slots)
    for step in range(steps):
        x = torch.stack([drawn(7, 5, 3, seed=100 * step + seed) for seed in seeds], 1)
        cell.zero_grad()
        cell(x)[0].square().mean((0, 2, 3)).sum().backward()
        optimizer.step(torch.ones(cell.pack_size, dtype=torch.bool), torch.ones(cell.pack_size))
        cell.after_step()


def test_the_example_of_the_module_works():
    documentation = inspect.getdoc(stack_module)
    assert documentation is not None
    example = inspect.cleandoc(documentation[documentation.index("::\n") + 3 :])
    names = {
        name: getattr(module, name)
        for module in map(
            import_module,
            [
                "dataclasses",
                "typing",
                "longhaul_trainers.cells.stack",
                "longhaul_trainers.initialisation",
                "longhaul_trainers.parameter_groups",
                "longhaul_trainers.scans.inputs",
                "longhaul_trainers.scans.linear",
                "longhaul_trainers.settings",
                "longhaul_trainers.slots",
            ],
        )
        for name in vars(module)
        if not name.startswith("__")
    }
    exec(example, names)
    settings = names["LeakySettings"](hidden_size=4, layers=1, mode="bare", decay=0.5)
    cell = names["Leaky"](3, [settings], generators(1))
    x = drawn(5, 1, 2, 3)
    h = torch.zeros(2, 4)
    for t, hidden in enumerate(cell(x)[0]):
        h = 0.5 * h + x[t, 0] @ cell.layers[0].input_weight[0].T
        torch.testing.assert_close(hidden[0], h)


@pytest.mark.parametrize(
    ("name", "mode", "norm"),
    [(name, mode, "batch") for name in STACKED for mode in ("bare", "block")]
    + [("mingru", mode, norm) for mode in ("bare", "block") for norm in ("layer", "none")],
)
def test_a_slot_is_the_same_trial_alone_and_in_a_pack_with_every_norm(name, mode, norm):
    values = {"mode": mode, "norm": norm, "layers": 2}
    together = build(name, 3, **values)
    train(together, range(3))
    x = torch.stack([drawn(9, 5, 3, seed=50 + p) for p in range(3)], 1)
    together.eval()
    outputs, _ = together(x)
    for p in range(3):
        settings = together.slots[p]
        alone = type(together)(3, [settings], generators(1, start=p))
        train(alone, [p])
        for key, tensor in alone.state_dict().items():
            assert torch.equal(tensor[0], together.state_dict()[key][p]), key
        alone.eval()
        assert torch.equal(alone(x[:, p : p + 1])[0][:, 0], outputs[:, p])


@every_stacked_cell
@pytest.mark.parametrize("mode", ["bare", "block"])
def test_state_is_carried_in_both_modes(name, mode):
    cell = build(name, 2, mode=mode, layers=3, norm="layer").double()
    x = drawn(8, 2, 4, 3).double()
    whole, last = cell(x)
    first, state = cell(x[:3])
    second, end = cell(x[3:], state)
    torch.testing.assert_close(torch.cat([first, second]), whole)
    assert len(last) == 3 * cell.layer_type.state_count
    for one, other in zip(end, last, strict=True):
        torch.testing.assert_close(one, other)


@every_stacked_cell
@pytest.mark.parametrize("mode", ["bare", "block"])
def test_parameter_count_in_every_mode(name, mode):
    for inputs, layers, gate, norm in ((1, 1, "none", "batch"), (5, 3, "glu", "none")):
        cell = build(name, 1, inputs, mode=mode, norm=norm, layers=layers, gate=gate)
        actual = sum(one.numel() for one in cell.parameters())
        assert type(cell).parameter_count(inputs, cell.slots[0]) == actual


def test_batch_norm_equals_that_of_torch():
    ours = Norm("batch", 5, 2)
    theirs = torch.nn.BatchNorm1d(5)
    for seed in range(3):
        x = drawn(4, 2, 3, 5, seed=seed)
        mine = ours(x)
        expected = theirs(x[:, 1].reshape(-1, 5)).view(4, 3, 5)
        torch.testing.assert_close(mine[:, 1], expected)
    ours.eval(), theirs.eval()
    before = ours.running_mean.clone()
    torch.testing.assert_close(ours(x)[:, 1], theirs(x[:, 1].reshape(-1, 5)).view(4, 3, 5))
    assert torch.equal(before, ours.running_mean)
    assert theirs.running_var is not None
    torch.testing.assert_close(ours.running_variance[1], theirs.running_var)


def test_evaluation_uses_running_statistics_and_leaves_them():
    task = Adding(parse_component(TASKS, {"name": "adding", "length": 8}))
    model = SequenceModel(task, [MinGRUSettings(hidden_size=4, norm="batch")] * 2, generators(2))
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    whole, parts = (
        evaluate(
            model, task, EvaluationSet(task, "validation", 40, hidden_size, torch.device("cpu"))
        )
        for hidden_size in (4, 2**18)
    )
    torch.testing.assert_close(whole["loss"], parts["loss"])
    assert model.training
    assert all(torch.equal(before[key], tensor) for key, tensor in model.state_dict().items())


def test_batch_norm_of_a_nan_slot_leaves_the_running_means_of_the_others():
    norm = Norm("batch", 5, 2)
    x = drawn(4, 2, 3, 5)
    x[0, 1] = math.nan
    norm(x)
    assert norm.running_mean[0].isfinite().all()
    assert norm.running_mean[1].isnan().all()


@pytest.mark.parametrize("candidate", ["positive", "linear"])
@pytest.mark.parametrize(
    ("cell_type", "settings_type"), [(MinGRU, MinGRUSettings), (MinLSTM, MinLSTMSettings)]
)
def test_a_carried_state_enters_as_it_is_and_not_through_g(cell_type, settings_type, candidate):
    settings = settings_type(hidden_size=4, mode="bare", layers=1, candidate=candidate)
    cell = cell_type(3, [settings], generators(1)).double()
    x, state = drawn(300, 1, 2, 3).double(), drawn(1, 2, 4, seed=1).abs().double()
    at_once, end = cell(x, (state,))
    for t in range(300):
        one, (state,) = cell(x[t : t + 1], (state,))
        torch.testing.assert_close(one[0], at_once[t])
    torch.testing.assert_close(state, end[0])


def test_gates_that_both_vanish_still_share_the_state():
    settings = MinLSTMSettings(hidden_size=1, mode="bare", layers=1, candidate="linear")
    cell = MinLSTM(1, [settings], generators(1))
    with torch.no_grad():
        cell.layers[0].input_weight.zero_()
        cell.layers[0].bias.copy_(torch.tensor([[-200.0, -200.0, 3.0]]))
    hidden, _ = cell(torch.zeros(1, 1, 1, 1), (torch.ones(1, 1, 1),))
    torch.testing.assert_close(hidden.flatten(), torch.tensor([2.0]))
