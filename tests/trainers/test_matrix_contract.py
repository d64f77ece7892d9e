"""What every recurrent matrix of the catalogue must satisfy, each against its own oracle.

A matrix is covered by ``matrix_oracles/NAME.py``, which has

* ``CASES``: settings to try; the first is ``{}``;
* ``matrix(p, settings, hidden_size)``: W (N, N) of one slot from the published formula, where ``p``
  has the slot's parameters and buffers by the names of its state dict, without their pack
  dimension, in float64; differentiable in them;
* where there is a penalty, ``penalty(p, settings, hidden_size)``, a number or None;
* where there is a constraint, ``deviation(W)``, which is 0 where it holds, and ``TOLERANCE``, its
  bound after 200 steps in float32;
* optionally ``HIDDEN_SIZE``, and ``RATE``, the learning rate of those steps.
"""

import inspect
import math

import pytest
import torch
from oracles import oracles

from longhaul_trainers.catalogue import MATRICES, OPTIMIZERS
from longhaul_trainers.errors import SettingError
from longhaul_trainers.matrices.base import RecurrentMatrix, RecurrentSettings
from longhaul_trainers.settings import describe, dump, parse_component
from longhaul_trainers.training.optimizers import PackOptimizer

B = 4


ORACLES = oracles("matrix")
NAMES = [name for name in MATRICES.names() if name in ORACLES]
every_matrix = pytest.mark.parametrize("name", NAMES)
every_case = pytest.mark.parametrize(
    ("name", "case"),
    [
        pytest.param(name, case, id=f"{name}-{i}")
        for name in NAMES
        for i, case in enumerate(ORACLES[name].CASES)
    ],
)


def size_of(name):
    return getattr(ORACLES[name], "HIDDEN_SIZE", 6)


def settings(name, case):
    return parse_component(MATRICES, {"name": name} | case)


def build(name, slots, seeds):
    drawn = [torch.Generator().manual_seed(seed) for seed in seeds]
    return MATRICES.get(name)(size_of(name), slots, drawn)


def alike(name, case, seeds):
    return build(name, [settings(name, case)] * len(seeds), seeds)


def varied(name, case, pack):
    """Settings whose numbers differ from slot to slot, wherever trials of a pack may differ."""
    default = settings(name, case)
    slots = []
    for p in range(pack):
        changes = {}
        for key, field in describe(type(default)).items():
            value = getattr(default, key)
            if isinstance(value, float) and not field.rule.structural:
                changed = value * (1 - 0.1 * p)
                changes[key] = changed if field.rule.admits(changed) else value
        slot = default.with_changes(**changes)
        try:
            slot.check()
        except SettingError:
            slot = default
        slots.append(slot)
    return slots


def shaken(matrix, seed=11, scale=0.1):
    """Moves the parameters away from their start, where many a term is 0, and keeps constraints."""
    with torch.no_grad():
        for parameter in matrix.parameters():
            for p, slot in enumerate(parameter):
                drawn = torch.Generator().manual_seed(seed + 1000 * p)
                slot += scale * torch.randn(slot.shape, generator=drawn).to(slot.dtype)
    matrix.after_step()
    return matrix


def drawn_like(W, seed, columns):
    """Numbers (N, columns) in W's precision, the same for one seed whatever the pack."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(W.shape[-1], columns, generator=generator, dtype=torch.float64).to(W.dtype)


def loss(matrix, seeds, step):
    """How far W is, slot by slot, from a rotation of each seed's own, seen on a few vectors."""
    losses = []
    for W, seed in zip(matrix.matrix(), seeds, strict=True):
        target = torch.linalg.qr(drawn_like(W.double(), seed, W.shape[-1])).Q.to(W.dtype)
        h = drawn_like(W, 7919 * step + seed, B)
        losses.append((W @ h - target @ h).square().mean())
    penalty = matrix.penalty()
    return torch.stack(losses) if penalty is None else torch.stack(losses) + penalty


def train(matrix, steps, seeds, start=0, optimizer=None, rate=3e-3, name="rmsprop"):
    """Steps as a pack takes them; what a slot sees depends on its seed and the step alone."""
    kind = OPTIMIZERS.get(name)
    slots = [kind.settings_type(learning_rate=rate)] * len(seeds)
    optimizer = optimizer or PackOptimizer(matrix.parameter_groups(), slots)
    for step in range(start, start + steps):
        matrix.zero_grad()
        losses = loss(matrix, seeds, step)
        if losses.requires_grad:
            losses.sum().backward()
        optimizer.step(torch.ones(len(seeds), dtype=torch.bool), torch.ones(len(seeds)))
        matrix.after_step()
    return optimizer


def tensors(matrix):
    """All parameters and persistent buffers by name."""
    return {key: one.detach() for key, one in matrix.state_dict().items()}


def slot_tensors(matrix, p):
    """One slot's parameters and buffers by name, as fresh leaves."""
    pack = len(matrix.slots)
    return {
        name: tensor[p].detach().clone().requires_grad_(tensor.is_floating_point())
        for name, tensor in (matrix.state_dict() | dict(matrix.named_buffers())).items()
        if tensor.dim() and tensor.shape[0] == pack
    }


def test_every_matrix_is_covered():
    assert set(ORACLES) == set(MATRICES.names())
    assert all(module.CASES[0] == {} for module in ORACLES.values())


@every_case
@pytest.mark.parametrize("pack", [1, 3])
def test_shapes_and_groups(name, case, pack):
    matrix, size = alike(name, case, range(pack)), size_of(name)
    assert isinstance(matrix, RecurrentMatrix)
    rows = type(matrix).state_size(size, settings(name, case))
    assert rows in (size, 2 * size)
    W = matrix.matrix()
    assert W.shape == (pack, rows, rows)
    assert W.dtype == torch.float32
    groups = matrix.parameter_groups()
    grouped = [id(parameter) for group in groups for parameter in group.parameters]
    assert sorted(grouped) == sorted(id(parameter) for parameter in matrix.parameters())
    assert all(group.parameters for group in groups)
    assert all(one.shape[0] == pack for one in (*matrix.parameters(), *tensors(matrix).values()))
    vectors = [(group.learning_rate_ratio, group.weight_decay) for group in groups]
    assert all(one is None or one.shape == (pack,) for pair in vectors for one in pair)
    assert len({group.name for group in groups}) == len(groups)
    if any(True for _ in matrix.parameters()):
        penalty = matrix.penalty()
        assert penalty is None or penalty.shape == (pack,)
        (W.square().sum() + (0 if penalty is None else penalty.sum())).backward()
        assert all(parameter.grad is not None for parameter in matrix.parameters())
    found = matrix.diagnostics()
    assert set(found) >= {"orthogonality_error", "spectral_radius", "departure_from_normality"}
    assert all(one.shape == (pack,) and one.isfinite().all() for one in found.values())
    assert all(one.dtype == torch.float64 for one in found.values())


@every_case
@pytest.mark.parametrize("pack", [1, 3])
def test_values_and_gradients_equal_the_formula(name, case, pack):
    slots = varied(name, case, pack)
    matrix, size = shaken(build(name, slots, range(pack)).double()), size_of(name)
    W, penalty = matrix.matrix(), matrix.penalty()
    weights = torch.stack([drawn_like(W, p, W.shape[-1]) for p in range(pack)])
    total = (W * weights).sum() + (0 if penalty is None else penalty.sum())
    if total.requires_grad:
        total.backward()
    for p, slot in enumerate(slots):
        mine = slot_tensors(matrix, p)
        expected = ORACLES[name].matrix(mine, slot, size)
        torch.testing.assert_close(W[p], expected, rtol=1e-9, atol=1e-10)
        value = (expected * weights[p]).sum()
        wanted = ORACLES[name].penalty(mine, slot, size) if penalty is not None else None
        if wanted is not None:
            torch.testing.assert_close(penalty[p], wanted, rtol=1e-9, atol=1e-10)
            value = value + wanted
        if value.requires_grad:
            value.backward()
        for key, parameter in matrix.named_parameters():
            gradient = mine[key].grad
            nothing = torch.zeros_like(mine[key])
            torch.testing.assert_close(
                parameter.grad[p],
                nothing if gradient is None else gradient,
                rtol=1e-7,
                atol=1e-9,
                msg=lambda found, key=key: f"{key}: {found}",
            )


@every_case
def test_gradcheck(name, case):
    matrix = shaken(alike(name, case, [1, 2]).double())
    parameters = dict(matrix.named_parameters())
    if not parameters:
        pytest.skip("nothing is trained")

    class Called(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.made = matrix

        def forward(self):
            penalty = self.made.penalty()
            return (self.made.matrix(), *([] if penalty is None else [penalty]))

    def run(*values):
        given = {f"made.{key}": one for key, one in zip(parameters, values, strict=True)}
        return torch.func.functional_call(Called(), given, ())

    values = [one.detach().clone().requires_grad_() for one in parameters.values()]
    assert torch.autograd.gradcheck(run, values, fast_mode=True, atol=1e-4)


@every_case
@pytest.mark.parametrize("factor", [1, 2])
def test_parameter_count_formula(name, case, factor):
    chosen, size, kind = settings(name, case), size_of(name) * factor, MATRICES.get(name)
    matrix = kind(size, [chosen], [torch.Generator()])
    counted = sum(parameter[0].numel() for parameter in matrix.parameters())
    assert kind.parameter_count(size, chosen) == counted


@every_case
@pytest.mark.parametrize("optimizer", ["rmsprop", "adam"])
def test_constraint_holds_after_many_steps(name, case, optimizer):
    matrix = alike(name, case, [0, 1])
    before = [one.clone() for one in tensors(matrix).values()]
    train(matrix, 200, [0, 1], name=optimizer, rate=getattr(ORACLES[name], "RATE", 3e-3))
    assert all(one.isfinite().all() for one in tensors(matrix).values())
    if any(True for _ in matrix.parameters()):
        moved = [
            (a.double() - b.double()).abs().max()
            for a, b in zip(before, tensors(matrix).values(), strict=True)
        ]
        assert max(moved) > 0.01
    if hasattr(ORACLES[name], "deviation"):
        for W in matrix.matrix().detach().double():
            assert ORACLES[name].deviation(W) < ORACLES[name].TOLERANCE


@every_case
def test_a_slot_is_the_same_alone_and_in_a_pack(name, case):
    slots = varied(name, case, 4)
    together = build(name, slots, range(4))
    train(together, 3, range(4))
    W, found = together.matrix(), together.diagnostics()
    for p in range(4):
        alone = build(name, [slots[p]], [p])
        train(alone, 3, [p])
        assert torch.equal(alone.matrix()[0], W[p])
        for key, one in tensors(alone).items():
            assert torch.equal(one[0], tensors(together)[key][p]), key
        for one, pack in zip(alone.parameters(), together.parameters(), strict=True):
            assert torch.equal(one.grad[0], pack.grad[p])
        for key, one in alone.diagnostics().items():
            assert torch.equal(one[0], found[key][p]), key


@every_case
def test_slots_may_change_places(name, case):
    order, slots = [2, 0, 1], varied(name, case, 3)
    straight = build(name, slots, range(3))
    crossed = build(name, [slots[p] for p in order], order)
    train(straight, 3, range(3))
    train(crossed, 3, order)
    assert torch.equal(straight.matrix()[order], crossed.matrix())
    for key, one in tensors(straight).items():
        assert torch.equal(one[order], tensors(crossed)[key]), key


@every_case
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_broken_slot_leaves_the_neighbours_alone(name, case, value):
    clean, dirty = alike(name, case, range(3)), alike(name, case, range(3))
    if not any(True for _ in dirty.parameters()):
        pytest.skip("nothing is trained, so nothing can break")
    with torch.no_grad():
        for parameter in dirty.parameters():
            parameter[1].fill_(value)
    for matrix in (clean, dirty):
        train(matrix, 3, range(3))
    first, second = clean.matrix(), dirty.matrix()
    assert not second[1].isfinite().all()
    assert torch.equal(first[::2], second[::2])
    for key, one in tensors(clean).items():
        assert torch.equal(one[::2], tensors(dirty)[key][::2]), key
    found, penalty = dirty.diagnostics(), dirty.penalty()
    assert all(one.isnan().tolist() == [False, True, False] for one in found.values())
    assert penalty is None or penalty[::2].isfinite().all()


@every_case
def test_restores_bit_for_bit(name, case):
    """What a state dict holds is enough, counters and fixed parts drawn at the start included."""
    whole, seeds = alike(name, case, [3, 4]), [3, 4]
    optimizer = train(whole, 3, seeds, name="adam")
    saved = {key: one.clone() for key, one in whole.state_dict().items()}
    running = {key: one.clone() for key, one in optimizer.tensors().items()}
    train(whole, 4, seeds, start=3, optimizer=optimizer)
    again = alike(name, case, [30, 40])
    again.load_state_dict(saved)
    kind = OPTIMIZERS.get("adam")
    slots = [kind.settings_type(learning_rate=3e-3)] * 2
    resumed = PackOptimizer(again.parameter_groups(), slots)
    for key, one in resumed.tensors().items():
        one.copy_(running[key])
    train(again, 4, seeds, start=3, optimizer=resumed)
    for key, one in tensors(whole).items():
        assert torch.equal(one, tensors(again)[key]), key
    assert torch.equal(whole.matrix(), again.matrix())


@every_case
def test_settings(name, case):
    chosen, kind = settings(name, case), MATRICES.get(name)
    assert isinstance(chosen, RecurrentSettings)
    assert kind.settings_type is type(chosen)
    assert type(chosen).name == name
    assert parse_component(MATRICES, dump(chosen)) == chosen
    assert all(one.rule.help for one in describe(type(chosen)).values())


@every_matrix
def test_documentation(name):
    kind = MATRICES.get(name)
    assert "W" in kind.formula
    assert kind.reference
    assert inspect.getdoc(kind).partition("\n\n")[0].endswith(".")
    assert inspect.getdoc(kind.settings_type)
