"""What every cell of the catalogue must satisfy, each against its own oracle.

A cell is covered by ``cell_oracles/NAME.py``, which has

* ``CASES``: settings to try, besides ``hidden_size``; the first is ``{}``;
* ``outputs(p, x, settings)``: the outputs (T, B, O) of one slot for inputs (T, B, I), step by step
  from the published equations, where ``p`` has the slot's parameters and buffers by the names of
  its state dict, without their pack dimension, in float64;
* optionally ``HIDDEN_SIZE``, ``PUBLISHED`` (tuples input size, settings, output size, trainable
  parameters with a linear readout), and ``deviation(cell)``, which is 0 (P,) where the cell's
  constraint holds, with its bound ``TOLERANCE``;
* optionally ``SAME_START``, the names of parameters whose many initial values are not drawn.
"""

import inspect
import math
import re

import pytest
import torch
from oracles import oracles

from longhaul_trainers.catalogue import CELLS, OPTIMIZERS
from longhaul_trainers.cells.base import CellSettings
from longhaul_trainers.cells.description import describe_cell
from longhaul_trainers.settings import describe, dump, parse_component, structure
from longhaul_trainers.training.optimizers import PackOptimizer

T, B, I = 5, 4, 3  # noqa: E741


ORACLES = oracles("cell")
NAMES = [name for name in CELLS.names() if name in ORACLES]
every_cell = pytest.mark.parametrize("name", NAMES)
every_case = pytest.mark.parametrize(
    ("name", "case"),
    [
        pytest.param(name, case, id=f"{name}-{i}")
        for name in NAMES
        for i, case in enumerate(ORACLES[name].CASES)
    ],
)


def settings(name, **values):
    size = getattr(ORACLES[name], "HIDDEN_SIZE", 6)
    return parse_component(CELLS, {"name": name, "hidden_size": size} | values)


def build(name, case, seeds, inputs=I, **values):
    slots = [settings(name, **(case | values))] * len(seeds)
    return CELLS.get(name)(inputs, slots, [torch.Generator().manual_seed(s) for s in seeds])


def shaken(cell, seed=11, scale=0.1):
    """Moves the parameters away from their start, where many a term is 0, and keeps constraints."""
    with torch.no_grad():
        for parameter in cell.parameters():
            for p, slot in enumerate(parameter):
                drawn = torch.Generator().manual_seed(seed + 1000 * p)
                slot += scale * torch.randn(slot.shape, generator=drawn).to(slot.dtype)
    cell.after_step()
    return cell


def inputs_of(pack, seed=0, steps=T, batch=B):
    drawn = [
        torch.randn(steps, batch, I, generator=torch.Generator().manual_seed(seed + p))
        for p in range(pack)
    ]
    return torch.stack(drawn, dim=1)


def train(cell, steps, seeds, start=0, optimizer=None, rate=3e-3, name="rmsprop"):
    """Steps as a pack takes them; a slot's data depend on its seed and the step alone."""
    kind = OPTIMIZERS.get(name)
    pack = cell.pack_size
    slots = [kind.settings_type(learning_rate=rate)] * pack
    optimizer = optimizer or PackOptimizer(cell.parameter_groups(), slots)
    for step in range(start, start + steps):
        x = torch.cat([inputs_of(1, 7919 * step + seed) for seed in seeds], 1)
        outputs, _ = cell(x)
        losses = (outputs[-1] - x[0, ..., :1]).square().mean((1, 2))
        penalty = cell.penalty()
        cell.zero_grad()
        (losses if penalty is None else losses + penalty).sum().backward()
        optimizer.step(torch.ones(pack, dtype=torch.bool), torch.ones(pack))
        cell.after_step()
    return optimizer


def slot_tensors(cell, p):
    """One slot's parameters and buffers by name, as fresh leaves."""
    state = cell.state_dict() | dict(cell.named_buffers())
    return {
        name: tensor[p].detach().clone().requires_grad_(tensor.is_floating_point())
        for name, tensor in state.items()
        if tensor.dim() and tensor.shape[0] == cell.pack_size
    }


def test_every_cell_is_covered():
    assert set(ORACLES) == set(CELLS.names())
    assert all(module.CASES[0] == {} for module in ORACLES.values())


@every_case
@pytest.mark.parametrize("pack", [1, 3])
def test_shapes_and_groups(name, case, pack):
    cell = build(name, case, range(pack))
    assert isinstance(settings(name, **case), CellSettings)
    outputs, state = cell(inputs_of(pack))
    assert outputs.shape == (T, pack, B, cell.output_size)
    assert all(one.shape[:2] == (pack, B) for one in state)
    groups = cell.parameter_groups()
    grouped = [id(parameter) for group in groups for parameter in group.parameters]
    assert sorted(grouped) == sorted(id(parameter) for parameter in cell.parameters())
    assert all(parameter.shape[0] == pack for parameter in cell.parameters())
    assert all(group.learning_rate_ratio.shape == (pack,) for group in groups)
    assert len({group.name for group in groups}) == len(groups)
    found = cell.diagnostics()
    assert all(one.shape == (pack,) and one.isfinite().all() for one in found.values())
    penalty = cell.penalty()
    assert penalty is None or penalty.shape == (pack,)
    (outputs.square().sum() + (0 if penalty is None else penalty.sum())).backward()
    assert all(parameter.grad is not None for parameter in cell.parameters())


@every_case
def test_values_and_gradients_equal_the_equations(name, case):
    cell = shaken(build(name, case, [1, 2])).double()
    x = inputs_of(2).double().requires_grad_()
    outputs, _ = cell(x)
    weights = inputs_of(2, 5).double().mean(-1, keepdim=True)
    (outputs * weights).sum().backward()
    for p in range(2):
        mine = slot_tensors(cell, p)
        xp = x[:, p].detach().clone().requires_grad_()
        expected = ORACLES[name].outputs(mine, xp, cell.slots[p])
        torch.testing.assert_close(outputs[:, p], expected, rtol=1e-9, atol=1e-10)
        (expected * weights[:, p]).sum().backward()
        torch.testing.assert_close(x.grad[:, p], xp.grad, rtol=1e-7, atol=1e-9)
        for key, parameter in cell.named_parameters():
            gradient = mine[key].grad
            wanted = torch.zeros_like(mine[key]) if gradient is None else gradient
            torch.testing.assert_close(parameter.grad[p], wanted, rtol=1e-7, atol=1e-9, msg=key)


@every_case
def test_gradcheck(name, case):
    cell = shaken(build(name, case, [1, 2])).double()
    keys = [key for key, _ in cell.named_parameters()]

    def run(x, *parameters):
        given = dict(zip(keys, parameters, strict=True))
        return torch.func.functional_call(cell, given, (x,))[0]

    x = inputs_of(2, steps=3, batch=2).double().requires_grad_()
    parameters = [one.detach().clone().requires_grad_() for one in cell.parameters()]
    assert torch.autograd.gradcheck(run, (x, *parameters), fast_mode=True, atol=1e-4)


@every_case
@pytest.mark.parametrize(("inputs", "factor"), [(1, 1), (10, 2)])
def test_parameter_count_formula(name, case, inputs, factor):
    chosen = settings(name, **case)
    chosen = settings(name, **(case | {"hidden_size": chosen.hidden_size * factor}))
    cell = CELLS.get(name)(inputs, [chosen], [torch.Generator()])
    actual = sum(parameter[0].numel() for parameter in cell.parameters())
    assert type(cell).parameter_count(inputs, chosen) == actual
    assert type(cell).output_size_for(chosen) == cell.output_size


@every_cell
@pytest.mark.parametrize("inputs", [1, 10])
def test_parameter_count_as_documented(name, inputs):
    default, cell = settings(name), CELLS.get(name)
    known = {key: getattr(default, key) for key in describe(type(default))} | {"log2": math.log2}
    known |= {"n": default.hidden_size, "m": inputs, "__builtins__": {}}
    assert eval(cell.count_formula, known) == cell.parameter_count(inputs, default)


@pytest.mark.parametrize(
    ("name", "published"),
    [(name, one) for name in NAMES for one in getattr(ORACLES[name], "PUBLISHED", [])],
)
def test_published_parameter_counts(name, published):
    inputs, values, outputs, count = published
    chosen, cell = settings(name, **values), CELLS.get(name)
    readout = (cell.output_size_for(chosen) + 1) * outputs
    assert cell.parameter_count(inputs, chosen) + readout == count


@every_case
@pytest.mark.parametrize("optimizer", ["rmsprop", "adam"])
def test_constraint_holds_after_many_steps(name, case, optimizer):
    if not hasattr(ORACLES[name], "deviation"):
        pytest.skip("an unconstrained cell")
    cell = build(name, case, [0, 1])
    before = [parameter.detach().clone() for parameter in cell.parameters()]
    train(cell, 200, [0, 1], name=optimizer)
    moved = [(a - b).abs().max() for a, b in zip(before, cell.parameters(), strict=True)]
    assert max(moved) > 0.01
    assert ORACLES[name].deviation(cell).max() < ORACLES[name].TOLERANCE


@every_case
def test_carried_state_splits_a_sequence(name, case):
    # In training a batch normalisation sees all steps at once, and the parts have other statistics.
    cell = shaken(build(name, case, [0, 1])).double().eval()
    x = inputs_of(2).double()
    whole, last = cell(x)
    first, state = cell(x[:2])
    second, end = cell(x[2:], state)
    torch.testing.assert_close(torch.cat([first, second]), whole)
    for one, other in zip(end, last, strict=True):
        torch.testing.assert_close(one, other)


@every_case
def test_the_initial_state_is_what_a_cell_begins_with(name, case):
    x = inputs_of(3)
    found = []
    for given in (False, True):
        cell = shaken(build(name, case, range(3)))
        outputs, end = cell(x, cell.initial_state(x) if given else None)
        outputs.square().sum().backward()
        found.append([outputs, *end, *[one.grad for one in cell.parameters()]])
    for one, other in zip(*found, strict=True):
        assert (one is None and other is None) or torch.equal(one, other)


def by_state(cell, x):
    """Gradients by the state that is carried in the middle of a sequence."""
    _, state = cell(x[:2])
    second, _ = cell(x[2:], state)
    state = [one for one in state if one.requires_grad]
    found = torch.autograd.grad(second.square().sum(), state, allow_unused=True)
    return [one for one in found if one is not None]


@every_case
def test_a_slot_is_the_same_trial_alone_and_in_a_pack(name, case):
    together = build(name, case, range(4))
    train(together, 3, range(4))
    outputs, _ = together(inputs_of(4))
    far = by_state(together, inputs_of(4))
    for p in range(4):
        alone = build(name, case, [p])
        train(alone, 3, [p])
        mine, _ = alone(inputs_of(4)[:, p : p + 1])
        for one, pack in zip(alone.parameters(), together.parameters(), strict=True):
            assert torch.equal(one[0], pack[p])
            assert torch.equal(one.grad[0], pack.grad[p])
        assert torch.equal(mine[:, 0], outputs[:, p])
        for key, one in alone.diagnostics().items():
            assert torch.equal(one[0], together.diagnostics()[key][p]), key
        pairs = zip(by_state(alone, inputs_of(4)[:, p : p + 1]), far, strict=True)
        assert all(torch.equal(one[0], pack[p]) for one, pack in pairs)


@every_case
def test_slots_may_change_places(name, case):
    order = [2, 0, 1]
    straight, crossed = build(name, case, range(3)), build(name, case, order)
    train(straight, 3, range(3))
    train(crossed, 3, order)
    for one, other in zip(straight.parameters(), crossed.parameters(), strict=True):
        assert torch.equal(one[order], other)


@every_case
def test_nan_in_one_slot_leaves_the_neighbours_alone(name, case):
    clean, dirty = build(name, case, range(3)), build(name, case, range(3))
    with torch.no_grad():
        for parameter in dirty.parameters():
            parameter[1].fill_(math.nan)
    for cell in (clean, dirty):
        train(cell, 2, range(3))
    first, second = clean(inputs_of(3))[0], dirty(inputs_of(3))[0]
    assert not second[:, 1].isfinite().all()
    for p in (0, 2):
        assert torch.equal(first[:, p], second[:, p])
        for one, other in zip(clean.parameters(), dirty.parameters(), strict=True):
            assert torch.equal(one[p], other[p])
    found = dirty.diagnostics()
    assert all(one.isnan().tolist() == [False, True, False] for one in found.values())


@every_case
def test_restores_bit_for_bit(name, case):
    whole, seeds = build(name, case, [3, 4]), [3, 4]
    optimizer = train(whole, 3, seeds, name="adam")
    saved = {key: tensor.clone() for key, tensor in whole.state_dict().items()}
    running = {key: tensor.clone() for key, tensor in optimizer.tensors().items()}
    train(whole, 3, seeds, start=3, optimizer=optimizer)
    again = build(name, case, [30, 40])
    again.load_state_dict(saved)
    kind = OPTIMIZERS.get("adam")
    slots = [kind.settings_type(learning_rate=3e-3)] * 2
    resumed = PackOptimizer(again.parameter_groups(), slots)
    for key, tensor in resumed.tensors().items():
        tensor.copy_(running[key])
    train(again, 3, seeds, start=3, optimizer=resumed)
    for one, other in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


@every_cell
def test_slots_start_differently(name):
    cell = build(name, {}, [0, 1])
    same = getattr(ORACLES[name], "SAME_START", ())
    drawn = [one for key, one in cell.named_parameters() if key not in same]
    random = [one for one in drawn if one[0].unique().numel() > 2]
    assert random
    assert all(not torch.equal(one[0], one[1]) for one in random)


@every_case
def test_settings_survive_dump_and_parse(name, case):
    chosen = settings(name, **case)
    assert parse_component(CELLS, dump(chosen)) == chosen
    assert dump(chosen)["name"] == name
    assert structure(chosen)["hidden_size"] == chosen.hidden_size
    assert all(one.rule.help for one in describe(type(chosen)).values())


@every_cell
def test_documentation(name):
    cell, described = CELLS.get(name), describe_cell(name)
    assert described.summary.endswith(".")
    assert described.reference
    assert re.fullmatch(r"@\w+\{[^\s,]+,\n(  \w+ = \{.+\},\n)+\}", cell.bibtex)
    assert {"title", "author", "year"} <= set(re.findall(r"^  (\w+) = ", cell.bibtex, re.MULTILINE))
    assert "'" in described.equations  # a state after the step
    text = described.markdown()
    assert text.startswith(f"## {name}\n")
    assert all(f"| `{key}` |" in text for key in described.settings)
    assert described.equations in text
    known = describe(cell.settings_type)
    for key, hole in cell.search_ranges.items():
        assert key.startswith("training.") or key.split(".")[0] in known, key
        assert re.fullmatch(r"\{(choice|uniform|loguniform|int|logint): \[.+\]\}", hole), key
    assert inspect.getdoc(cell.settings_type)
