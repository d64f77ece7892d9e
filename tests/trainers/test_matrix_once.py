"""W is made once an iteration: its gradient must be that of making it anew at every step."""

import pytest
import torch
from oracles import oracle

from longhaul_trainers.catalogue import MATRICES
from longhaul_trainers.nonlinearities import Tanh, TanhSettings
from longhaul_trainers.scans.elman import elman_scan
from longhaul_trainers.settings import parse

T, B, H = 4, 2, 6


def size_of(name):
    return getattr(oracle("matrix", name), "HIDDEN_SIZE", H)


@pytest.mark.parametrize("name", MATRICES.names())
def test_trap_gradient_equals_that_of_a_matrix_made_at_every_step(name):
    kind, size = MATRICES.get(name), size_of(name)
    drawn = torch.Generator().manual_seed(2)
    built = kind(size, [parse(kind.settings_type, {}, check=False)], [drawn]).double()
    with torch.no_grad():
        for parameter in built.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=drawn).double()
    built.after_step()
    rows = built.matrix().shape[-1]
    z = torch.randn(T, 1, B, rows, generator=drawn).double()
    h = first = torch.randn(1, B, rows, generator=drawn).double()
    phi = Tanh(rows, [TanhSettings()], [drawn])
    once = elman_scan(built.matrix(), z, first, phi)
    anew = []
    for step in z:
        h = torch.tanh(h @ built.matrix().mT + step)
        anew.append(h)
    torch.testing.assert_close(once, torch.stack(anew))
    parameters = list(built.parameters())
    if not parameters:
        assert name == "shift"  # fixed: nothing to learn
        return
    weights = torch.randn(once.shape, generator=drawn).double()
    ours = torch.autograd.grad(once, parameters, weights)
    naive = torch.autograd.grad(torch.stack(anew), parameters, weights)
    for one, other in zip(ours, naive, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-9)
