import math

import pytest
import torch

from longhaul_trainers.training.gradient_flow import FRACTIONS, SEQUENCES, gradient_flow
from longhaul_trainers.training.pack import Pack
from longhaul_trainers.training.settings import TrialConfig

TASK = {"name": "copying", "protocol": "arjovsky-2016", "delay": 20}


def pack(*cells, task=TASK, **training):
    given = {"steps": 8, "batch_size": 4, "validation_size": 10, "evaluate_every": 2} | training
    return Pack(
        [
            TrialConfig.parse({"task": task, "cell": cell, "training": given, "seed": seed})
            for seed, cell in enumerate(cells)
        ]
    )


RNN = {"name": "rnn", "hidden_size": 7}


@pytest.mark.parametrize(
    "task", [TASK, {"name": "adding", "protocol": "arjovsky-2016", "length": 20}]
)
def test_equals_a_step_by_step_run_in_float64(task):
    built = pack(RNN, task=task)
    built.model.double()
    batch = built.task.evaluation_set("validation", SEQUENCES)
    x = batch.inputs.double()
    cell = built.model.cell
    W, V, b = (one[0].detach() for one in (cell.recurrent.weight, cell.input_weight, cell.bias))
    h, states = torch.zeros(SEQUENCES, 7, dtype=torch.float64), []
    for t in range(x.shape[0]):
        h = torch.tanh(h @ W.T + x[t] @ V.T + b).requires_grad_()
        states.append(h)
    targets = batch.targets if not batch.targets.is_floating_point() else batch.targets.double()
    read = [states[-1]] if built.task.reads == "last" else states
    weight, bias = built.model.readout_weight[0], built.model.readout_bias[0]
    loss = built.task.loss(torch.stack([one @ weight + bias for one in read]), targets)
    # what is read at t itself is not part of "after t"
    for fraction in FRACTIONS:
        t = max(1, round(fraction * x.shape[0])) - 1
        (whole,) = torch.autograd.grad(loss, states[t], retain_graph=True)
        direct = torch.zeros_like(whole)
        if built.task.reads == "every":
            cut = states[t].detach().requires_grad_()
            outputs = [cut if i == t else one.detach() for i, one in enumerate(states)]
            own = built.task.loss(torch.stack([one @ weight + bias for one in outputs]), targets)
            (direct,) = torch.autograd.grad(own, cut)
        batch64 = type(batch)(x, targets)
        found = gradient_flow(built.model, built.task, batch64)
        assert found[f"state_at_{round(100 * fraction)}"].item() == pytest.approx(
            (whole - direct).norm().item(), rel=1e-9
        )


def test_a_contracting_cell_loses_its_gradient_an_orthogonal_one_keeps_it():
    weak, keeping = (
        {"name": "rnn", "hidden_size": 16, "recurrent_gain": gain, "nonlinearity": "identity"}
        for gain in (0.5, 1.0)
    )
    adding = {"name": "adding", "protocol": "arjovsky-2016", "length": 30}
    built = pack(weak, keeping, task=adding)
    found = gradient_flow(built.model, built.task, built.task.evaluation_set("validation", 8))
    lost, kept = (found["state_at_0"] / found["state_at_75"]).tolist()
    assert lost < 2e-3
    assert kept == pytest.approx(1, rel=0.5)


def test_leaves_no_gradient_behind_and_costs_nothing_to_the_curve():
    built = pack(RNN)
    gradient_flow(built.model, built.task, built.task.evaluation_set("validation", 8))
    assert all(parameter.grad is None for parameter in built.model.parameters())


def test_diagnosed_points_of_the_curve():
    built = pack(RNN, {"name": "rnn", "hidden_size": 7}, diagnose_every=4)
    first = list(built.train(until=2))
    rest = list(built.train())
    rows = [points[1] for points in first + rest]
    diagnosed = [row.step for row in rows if "gradient/state_at_0" in row.metrics]
    assert [row.step for row in rows] == [2, 4, 6, 8]
    assert diagnosed == [4, 8]
    assert all(
        ("recurrent/spectral_radius" in row.metrics) == (row.step in diagnosed) for row in rows
    )


def test_bits_do_not_depend_on_the_neighbours():
    cells = [RNN | {"recurrent_gain": gain} for gain in (0.7, 1.0, 1.3)]
    together = pack(*cells)
    data = together.task.evaluation_set("validation", 8)
    found = gradient_flow(together.model, together.task, data)
    for p, cell in enumerate(cells):
        alone = TrialConfig.parse(
            {"task": TASK, "cell": cell, "training": {"steps": 8, "batch_size": 4}, "seed": p}
        )
        mine = gradient_flow(Pack([alone]).model, together.task, data)
        assert all(torch.equal(mine[name][0], found[name][p]) for name in found)
        assert not any(math.isnan(one.item()) for one in mine.values())


def test_a_state_without_gradient_or_that_is_the_output_itself_counts_alike_in_a_pack():
    cell = {"name": "slstm", "hidden_size": 8}
    together = pack(cell, cell)
    batch = together.task.evaluation_set("validation", SEQUENCES)
    found = gradient_flow(together.model, together.task, batch)
    alone = pack(cell)
    first = gradient_flow(alone.model, alone.task, batch)
    assert all(torch.equal(first[name][0], values[0]) for name, values in found.items())


def test_batch_norm_keeps_its_running_statistics():
    normed = pack({"name": "mingru", "hidden_size": 8, "norm": "batch"})
    before = {name: one.clone() for name, one in normed.model.state_dict().items()}
    batch = normed.task.evaluation_set("validation", SEQUENCES)
    gradient_flow(normed.model, normed.task, batch)
    assert normed.model.training
    assert all(torch.equal(before[name], one) for name, one in normed.model.state_dict().items())
