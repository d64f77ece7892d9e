import pytest
import torch

from longhaul_trainers.scans.linear import complex_matrices, linear_scan, pair_scan
from longhaul_trainers.scans.native import library

P, B, N = 2, 3, 5
compiled = pytest.param(
    "compiled", marks=pytest.mark.skipif(library.library() is None, reason="no C++ compiler here")
)
orders = pytest.mark.parametrize("order", [compiled, "loop", "tree"])
lengths = pytest.mark.parametrize("steps", [1, 2, 7, 1024])


def drawn(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def case(kind, steps, dtype=torch.float32):
    """Coefficients of modulus below 1, inputs, initial state, and the scan that takes them."""
    if kind in ("constant", "varying"):
        shape = (P, N) if kind == "constant" else (steps, P, B, N)
        a = drawn(*shape, seed=1, dtype=dtype).tanh()
        return linear_scan, a, drawn(steps, P, B, N, dtype=dtype), drawn(P, B, N, dtype=dtype)
    shape = (P, N) if kind == "complex" else (steps, P, B, N)
    modulus = drawn(*shape, seed=1, dtype=dtype).tanh()
    angle = drawn(*shape, seed=2, dtype=dtype)
    A = complex_matrices(modulus * angle.cos(), modulus * angle.sin())
    if kind == "pairs":
        A = A + 0.1 * drawn(*A.shape, seed=3, dtype=dtype)
    return pair_scan, A, drawn(steps, P, B, 2, N, dtype=dtype), drawn(P, B, 2, N, dtype=dtype)


def stepped(a, b, h):
    """One step after the other, by autograd, whatever the kind."""
    seen = []
    for t in range(b.shape[0]):
        if b.dim() == 4:
            h = (a[:, None] if a.dim() == 2 else a[t]) * h + b[t]
        else:
            A = a[:, None] if a.dim() == 4 else a[t]
            h = torch.einsum("pbijn,pbjn->pbin", A.expand(-1, B, -1, -1, -1), h) + b[t]
        seen.append(h)
    return torch.stack(seen)


every_kind = pytest.mark.parametrize("kind", ["constant", "varying", "complex", "pairs"])


@every_kind
@lengths
@orders
def test_equals_one_step_after_the_other(kind, steps, order):
    scan, *tensors = case(kind, steps)
    mine = [one.clone().requires_grad_() for one in tensors]
    wanted = [one.double().requires_grad_() for one in tensors]
    weights = drawn(*tensors[1].shape, seed=9)
    hidden, expected = scan(*mine, order), stepped(*wanted)
    (hidden * weights).sum().backward()
    (expected * weights.double()).sum().backward()
    bound = 1e-6 * (steps + 10)
    torch.testing.assert_close(hidden.double(), expected, rtol=bound, atol=bound)
    for one, other in zip(mine, wanted, strict=True):
        torch.testing.assert_close(one.grad.double(), other.grad, rtol=bound, atol=bound)


@every_kind
@orders
def test_gradcheck(kind, order):
    scan, *tensors = case(kind, 6, torch.float64)
    tensors = [one.requires_grad_() for one in tensors]
    assert torch.autograd.gradcheck(lambda *given: scan(*given, order), tensors, fast_mode=True)


def test_pairs_are_complex_numbers():
    _, A, b, h = case("complex", 9, torch.float64)
    states = pair_scan(A, b, h)
    a = torch.complex(A[:, 0, 0], A[:, 1, 0])[:, None]
    z = torch.complex(h[:, :, 0], h[:, :, 1])
    for t in range(9):
        z = a * z + torch.complex(b[t, :, :, 0], b[t, :, :, 1])
        torch.testing.assert_close(torch.complex(states[t, :, :, 0], states[t, :, :, 1]), z)


@every_kind
@orders
def test_carried_state_splits_a_sequence(kind, order):
    scan, a, b, h = case(kind, 13, torch.float64)
    varies = a.shape[0] == 13
    whole = scan(a, b, h, order)
    first = scan(a[:4] if varies else a, b[:4], h, order)
    second = scan(a[4:] if varies else a, b[4:], first[-1], order)
    torch.testing.assert_close(torch.cat([first, second]), whole)


@pytest.mark.parametrize("sizes", [(37, 5, 13), (70, 40, 64)])
@every_kind
@orders
def test_a_slot_has_the_same_bits_alone_and_in_a_pack(kind, sizes, order, monkeypatch):
    steps, batch, size = sizes
    for name, value in (("P", 3), ("B", batch), ("N", size)):
        monkeypatch.setitem(globals(), name, value)
    scan, *tensors = case(kind, steps)
    together = [one.clone().requires_grad_() for one in tensors]
    hidden = scan(*together, order)
    hidden.square().sum().backward()
    leading = [1 if one.dim() > 3 and one.shape[0] == steps else 0 for one in tensors]
    for p in range(3):
        mine = [
            one.narrow(axis, p, 1).clone().requires_grad_()
            for one, axis in zip(tensors, leading, strict=True)
        ]
        alone = scan(*mine, order)
        alone.square().sum().backward()
        assert torch.equal(alone[:, 0], hidden[:, p])
        for one, other, axis in zip(mine, together, leading, strict=True):
            assert torch.equal(one.grad, other.grad.narrow(axis, p, 1))


@orders
def test_nan_in_one_slot_stays_there(order):
    _, a, b, h = case("varying", 7)
    clean = linear_scan(a, b, h, order)
    b[2, 1] = torch.nan
    dirty = linear_scan(a, b, h, order)
    assert torch.equal(clean[:, 0], dirty[:, 0])
    assert dirty[2:, 1].isnan().all()


@pytest.mark.skipif(library.library() is None, reason="no C++ compiler here")
def test_coefficients_that_differ_from_row_to_row_alone():
    """One coefficient a row and unit, the same at every step; and the other way round."""
    b, h = drawn(7, P, B, N, dtype=torch.float64), drawn(P, B, N, dtype=torch.float64)
    for shape in ((1, P, B, N), (7, P, 1, N)):
        a = drawn(*shape, seed=1, dtype=torch.float64).tanh()
        found = []
        for order in ("auto", "loop"):
            leaves = [one.clone().requires_grad_() for one in (a, b, h)]
            hidden = linear_scan(*leaves, order)
            found.append([hidden, *torch.autograd.grad(hidden.square().sum(), leaves)])
        for one, other in zip(*found, strict=True):
            torch.testing.assert_close(one, other)
