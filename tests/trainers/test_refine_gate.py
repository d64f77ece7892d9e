"""Uniform and refine gates (arXiv:1910.09890): what they start with, and why they can be learnt."""

import math

import pytest
import torch

from longhaul_trainers.catalogue import CELLS
from longhaul_trainers.cells.refine_gate import effective_gate
from longhaul_trainers.settings import parse_component, structure

N = 2000


def build(name, **values):
    given = {"name": name, "hidden_size": N, "recurrent_init": "identity"}  # QR takes seconds
    slot = parse_component(CELLS, given | values)
    return CELLS.get(name)(1, [slot], [torch.Generator().manual_seed(0)])


def kept(cell):
    """Which fraction of its memory each unit keeps in a step without input, at the start."""
    with torch.no_grad():
        cell.recurrent_weight.zero_()
    ones = tuple(torch.ones(1, 1, N) for _ in range(2 if "LSTM" in type(cell).__name__ else 1))
    return cell(torch.zeros(1, 1, 1, 1), ones)[1][-1].flatten().detach()


@pytest.mark.parametrize("name", ["ur_lstm", "ur_gru"])
def test_time_scales_are_uniform_at_the_start(name):
    found = kept(build(name, mechanism="u"))
    assert 1 / N - 1e-5 < found.min() < 0.01
    assert 0.99 < found.max() < 1 - 1 / N + 1e-5
    assert found.std().item() == pytest.approx(1 / math.sqrt(12), rel=0.05)


@pytest.mark.parametrize("name", ["ur_lstm", "ur_gru"])
def test_the_refine_gate_starts_as_one_minus_the_gate(name):
    """Its constant is minus the gate's, so r = 1 - f and g = (2f - 1) f^2 + 2 (1 - f) f."""
    cell = build(name)
    f = torch.sigmoid(cell.constants[0, :N])
    r = torch.sigmoid(cell.constants[0, N:])
    torch.testing.assert_close(r, 1 - f, rtol=0, atol=1e-6)
    torch.testing.assert_close(kept(cell), (2 * f - 1) * f**2 + 2 * (1 - f) * f)


def test_without_the_shift_the_refine_gate_starts_half_open_and_changes_nothing():
    cell = build("ur_lstm", refine_bias="zero")
    f = torch.sigmoid(cell.constants[0, :N])
    torch.testing.assert_close(kept(cell), f)


def test_the_refine_gate_alone_has_one_constant():
    cell = build("ur_lstm", mechanism="r", gate_bias=2.0)
    torch.testing.assert_close(kept(cell), torch.sigmoid(torch.full((N,), 2.0)))


def test_the_effective_gate_lies_between_the_square_and_its_mirror():
    f = torch.linspace(-6, 6, 25, dtype=torch.float64)
    g = torch.sigmoid(f)
    lower, upper = (effective_gate([f, torch.full_like(f, shift)]) for shift in (-40.0, 40.0))
    torch.testing.assert_close(lower, g**2)
    torch.testing.assert_close(upper, 1 - (1 - g) ** 2)
    assert torch.equal(effective_gate([f]), g)


def test_near_one_the_refined_gate_has_more_gradient():
    """At an effective gate of 0.99 a plain gate passes 0.0099, the refined one several times it."""
    plain = torch.logit(torch.tensor(0.99, dtype=torch.float64)).requires_grad_()
    (slope,) = torch.autograd.grad(effective_gate([plain]), plain)
    # 1 - (1 - f)^2 = 0.99 at f = 0.9
    refined = torch.logit(torch.tensor(0.9, dtype=torch.float64)).requires_grad_()
    value = effective_gate([refined, torch.tensor(40.0, dtype=torch.float64)])
    (refined_slope,) = torch.autograd.grad(value, refined)
    assert value.item() == pytest.approx(0.99)
    assert slope.item() == pytest.approx(0.0099)
    assert refined_slope.item() == pytest.approx(2 * 0.1 * 0.9 * 0.1)


def test_as_many_parameters_as_an_lstm():
    ours = parse_component(CELLS, {"name": "ur_lstm", "hidden_size": 63})
    theirs = parse_component(CELLS, {"name": "lstm", "hidden_size": 63})
    counts = [CELLS.get(one.name).parameter_count(10, one) for one in (ours, theirs)]
    assert counts[0] == counts[1]


def test_the_constants_are_fixed_and_in_the_checkpoint():
    cell = build("ur_gru")
    assert "constants" in cell.state_dict()
    assert "constants" not in dict(cell.named_parameters())
    ur, u = (parse_component(CELLS, {"name": "ur_gru", "mechanism": one}) for one in ("ur", "u"))
    assert structure(ur) != structure(u)
