"""The Triton scans of each unit alone, run by Triton's interpreter, against those in torch."""

import pytest
import torch

from longhaul_trainers.catalogue import NONLINEARITIES
from longhaul_trainers.scans import diagonal
from longhaul_trainers.scans.diagonal import diagonal_scan
from longhaul_trainers.scans.fused.diagonal import FusedDiagonal
from longhaul_trainers.scans.linear import linear_scan, pair_scan

pytest.importorskip("triton", reason="Triton is not installed (it is for Linux alone)")
pytestmark = pytest.mark.usefixtures("interpreted")


def normal(*shape, seed=1):
    drawn = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=drawn, dtype=torch.float64).requires_grad_()


def assert_same(ours, wanted):
    for one, other in zip(ours, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def run_diagonal(which, name, slots, leaves, weights, monkeypatch):
    kind = NONLINEARITIES.get(name)
    generators = [torch.Generator().manual_seed(p) for p in slots]
    phi = kind(leaves[0].shape[-1], [kind.settings_type()] * len(slots), generators).double()

    def fused(phi, states):
        return FusedDiagonal(*phi.compiled_for(states))

    monkeypatch.setattr(diagonal, "_in_one_call", fused if which == "fused" else lambda *_: None)
    u, z, initial = (one.detach() for one in leaves)
    mine = [u[slots], z[:, slots], initial[slots]]
    mine = [one.clone().requires_grad_() for one in mine]
    outputs = diagonal_scan(*mine, phi)
    by = torch.autograd.grad(outputs, [*mine, *phi.parameters()], weights[:, slots])
    return outputs, *by


@pytest.mark.parametrize("shape", [(3, 2, 3, 50), (1, 1, 1, 1)])
@pytest.mark.parametrize("name", ["identity", "leaky_relu", "modrelu", "relu", "tanh"])
def test_diagonal(name, shape, monkeypatch):
    _, pack, batch, size = shape
    leaves = [normal(pack, size), normal(*shape, seed=2), normal(pack, batch, size, seed=3)]
    given = (name, list(range(pack)), leaves, normal(*shape, seed=4), monkeypatch)
    together = run_diagonal("fused", *given)
    assert_same(together, run_diagonal("torch", *given))
    alone = run_diagonal("fused", name, [pack - 1], *given[2:])
    assert torch.equal(alone[0][:, 0], together[0][:, -1])
    assert torch.equal(alone[1][0], together[1][-1])


@pytest.mark.parametrize("varying", [(True, True), (False, True), (False, False)])
@pytest.mark.parametrize("pair", [False, True])
def test_linear(pair, varying):
    steps, pack, batch, units = 3, 2, 3, 50
    over = [steps, pack, batch] if varying[0] else [1, pack, batch if varying[1] else 1]
    if pair:
        scan, unit, entry = pair_scan, [2, units], [2, 2, units]
    else:
        scan, unit, entry = linear_scan, [units], [units]
    leaves = [normal(*over, *entry), normal(steps, pack, batch, *unit, seed=2)]
    leaves.append(normal(pack, batch, *unit, seed=3))
    weights = normal(steps, pack, batch, *unit, seed=4)

    def run(order):
        outputs = scan(*leaves, order=order)
        return outputs, *torch.autograd.grad(outputs, leaves, weights)

    assert_same(run("fused"), run("loop"))
