import math

import pytest
import torch

from longhaul_trainers.catalogue import CELLS, OPTIMIZERS
from longhaul_trainers.errors import SettingError
from longhaul_trainers.settings import parse_component
from longhaul_trainers.training.optimizers import PackOptimizer

T = 10


def build(*slots, hidden_size=8):
    common = {"name": "indrnn", "hidden_size": hidden_size, "layers": 1, "norm": "none"}
    parsed = [parse_component(CELLS, common | slot) for slot in slots]
    generators = [torch.Generator().manual_seed(p) for p in range(len(slots))]
    return CELLS.get("indrnn")(2, parsed, generators)


def optimizer_of(cell, name="adam", **settings):
    slots = [OPTIMIZERS.get(name).settings_type(**settings)] * cell.pack_size
    return PackOptimizer(cell.parameter_groups(), slots)


def grow(cell, optimizer, steps):
    """Steps that make u grow without end if nothing holds it; the largest |u| after each."""
    seen = []
    for _ in range(steps):
        cell.zero_grad()
        outputs, _ = cell(torch.ones(T, cell.pack_size, 3, 2))
        (-outputs.abs().sum()).backward()
        pack = cell.pack_size
        optimizer.step(torch.ones(pack, dtype=torch.bool), torch.ones(pack))
        cell.after_step()
        seen.append(cell.layers[0].recurrent_weight.detach().abs().amax(1))
    return torch.stack(seen)


SLOTS = (
    {"magnitude": 2.0, "sequence_length": T},
    {"magnitude": 10.0, "sequence_length": T},
    {"magnitude": 5.0},
    {"magnitude": None},
)


def test_trap_clamp_is_honoured_after_every_step_and_after_a_resume():
    bounds = torch.tensor([2 ** (1 / T), 10 ** (1 / T), 1.0, math.inf])
    cell = build(*SLOTS)
    with torch.no_grad():
        cell.layers[0].input_weight.abs_()
    optimizer = optimizer_of(cell, learning_rate=0.1)
    largest = grow(cell, optimizer, 20)
    assert (largest <= bounds).all()
    torch.testing.assert_close(largest[-1, :3], bounds[:3])
    assert largest[-1, 3] > 1.5
    resumed = build(*SLOTS)
    resumed.load_state_dict(cell.state_dict())
    again = optimizer_of(resumed, learning_rate=0.1)
    for key, tensor in again.tensors().items():
        tensor.copy_(optimizer.tensors()[key])
    after = grow(resumed, again, 5)
    assert (after <= bounds).all()
    assert torch.equal(after, grow(cell, optimizer, 5))


def test_weight_decay_spares_u_and_the_bias():
    cell = build({})
    before = {key: one.detach().clone() for key, one in cell.named_parameters()}
    optimizer = optimizer_of(cell, "sgd", learning_rate=0.1, weight_decay=0.5)
    for parameter in cell.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step(torch.ones(1, dtype=torch.bool), torch.ones(1))
    moved = {key for key, one in cell.named_parameters() if not torch.equal(one, before[key])}
    assert moved == {"layers.0.input_weight"}


def test_u_starts_on_the_unit_interval_or_between_the_bounds():
    wide = build(
        {}, {"recurrent_init": "bound", "sequence_length": 4}, {"recurrent_init": "one"},
        hidden_size=500,
    )  # fmt: skip
    uniform, bounded, one = wide.layers[0].recurrent_weight.detach()
    assert 0 <= uniform.min() < 0.02
    assert 0.98 < uniform.max() <= 1
    assert 2**-0.25 <= bounded.min() < 0.86
    assert 1.17 < bounded.max() <= 2**0.25 + 1e-6
    assert (one == 1).all()


def test_the_last_layer_may_start_otherwise():
    cell = build({"layers": 3, "last_recurrent_init": "one"})
    ones = [bool((layer.recurrent_weight == 1).all()) for layer in cell.layers]
    assert ones == [False, False, True]


def test_a_bound_start_needs_a_bound():
    with pytest.raises(SettingError, match="recurrent_init: bound needs a magnitude"):
        build({"recurrent_init": "bound", "magnitude": None})


def test_a_broken_unit_stays_broken():
    cell = build({}, {})
    with torch.no_grad():
        cell.layers[0].recurrent_weight[1, 3] = math.nan
    cell.after_step()
    assert cell.layers[0].recurrent_weight.isnan().nonzero().tolist() == [[1, 3]]
