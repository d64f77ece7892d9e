"""The compiled scans against those written with torch, in odd sizes and on several threads."""

import pytest
import torch

from longhaul_trainers.catalogue import NONLINEARITIES
from longhaul_trainers.scans import gru, linear, unicornn
from longhaul_trainers.scans.diagonal import diagonal_scan
from longhaul_trainers.scans.native import diagonal, library

pytestmark = pytest.mark.skipif(library.library() is None, reason="no C++ compiler here")

SHAPES = [(6, 1, 4, 5), (5, 3, 7, 64), (3, 2, 13, 70), (1, 1, 1, 1), (2, 1, 40, 128), (9, 4, 6, 33)]
CASES = [
    "gru",
    "unicornn",
    "number",
    "constant",
    "pair",
    "eigenvalue",
    *(f"diagonal {name}" for name in ("identity", "leaky_relu", "modrelu", "relu", "tanh")),
]


def drawn(*shape, dtype, seed=0):
    generator = torch.Generator().manual_seed(sum(shape) + seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


def case(name, shape, dtype):
    """The scan and the tensors that it takes."""
    T, P, B, H = shape
    z, h = drawn(T, P, B, H, dtype=dtype), drawn(P, B, H, dtype=dtype)
    if name == "gru":
        U, products = drawn(P, 3 * H, H, dtype=dtype) / H**0.5, drawn(T, P, B, 3 * H, dtype=dtype)
        return gru.gru_scan, [U, drawn(P, H, dtype=dtype), products, h]
    if name == "unicornn":
        alpha = drawn(P, dtype=dtype, seed=5).abs()
        w, d = drawn(P, H, dtype=dtype), drawn(P, H, dtype=dtype, seed=1) / 4
        velocity = drawn(P, B, H, dtype=dtype, seed=2)

        def scan(*given):
            return unicornn.unicornn_scan(*given, alpha=alpha)

        return scan, [w, d, z, h, velocity]
    if name in ("number", "constant"):
        a = drawn(*((P, H) if name == "constant" else (T, P, B, H)), dtype=dtype, seed=3).tanh()
        return linear.linear_scan, [a, z, h]
    if name in ("pair", "eigenvalue"):
        lead = (P,) if name == "eigenvalue" else (T, P, B)
        A = drawn(*lead, 2, 2, H, dtype=dtype, seed=3) / 3
        z, h = drawn(T, P, B, 2, H, dtype=dtype), drawn(P, B, 2, H, dtype=dtype)
        return linear.pair_scan, [A, z, h]
    kind = NONLINEARITIES.get(name.split()[1])
    phi = kind(H, [kind.settings_type()] * P, [torch.Generator().manual_seed(p) for p in range(P)])
    phi.to(dtype)

    def with_phi(u, z, h, *_):
        return diagonal_scan(u, z, h, phi)

    return with_phi, [drawn(P, H, dtype=dtype), z, h, *phi.parameters()]


def run(name, shape, dtype):
    """What the scan gives, and the gradients by all that it takes."""
    scan, leaves = case(name, shape, dtype)
    leaves = [
        one if isinstance(one, torch.nn.Parameter) else one.requires_grad_() for one in leaves
    ]
    found = scan(*leaves)
    found = found if isinstance(found, tuple) else (found,)
    weights = [drawn(*one.shape, dtype=dtype, seed=9) for one in found]
    return [*found, *torch.autograd.grad(found, leaves, weights)]


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-11), (torch.float32, 1e-4)])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", CASES)
def test_equals_the_scan_written_with_torch(name, shape, dtype, rtol, monkeypatch):
    ours = run(name, shape, dtype)
    for module in (gru, linear, unicornn, diagonal):
        monkeypatch.setattr(module, "serves", lambda states: False)
    plain = run(name, shape, dtype)
    if sum(shape) > 20:  # so that it is known that two programs were compared
        assert any(not torch.equal(*pair) for pair in zip(ours, plain, strict=True))
    for one, other in zip(ours, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=rtol, atol=rtol * 10)


@pytest.mark.parametrize("name", CASES)
def test_bits_do_not_depend_on_the_number_of_threads(name):
    before = torch.get_num_threads()
    try:
        for shape in ((4, 1, 29, 37), (4, 3, 7, 16)):
            found = []
            for threads in (1, 2, 3):
                torch.set_num_threads(threads)
                found.append(run(name, shape, torch.float32))
            for other in found[1:]:
                # the sums over steps of a matrix's gradient are torch's
                skipped = 1 if name == "gru" else None
                for which, pair in enumerate(zip(found[0], other, strict=True)):
                    assert which == skipped or torch.equal(*pair), which
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("name", CASES)
def test_nan_in_one_slot_leaves_the_neighbours_alone(name):
    shape = (5, 3, 7, 21)
    scan, leaves = case(name, shape, torch.float32)
    with torch.no_grad():
        clean = scan(*leaves)
        leaves[2 if name in ("gru", "unicornn") else 1][2, 1, 0] = torch.nan
        dirty = scan(*leaves)
    clean, dirty = (one[0] if isinstance(one, tuple) else one for one in (clean, dirty))
    assert dirty[2:, 1, 0].isnan().any()
    assert torch.equal(clean[:, ::2], dirty[:, ::2])
    assert torch.equal(clean[:2], dirty[:2])


def test_tensors_of_two_types_are_refused():
    states = torch.zeros(1, 3, 2, 4)
    with pytest.raises(ValueError, match="one type"):
        library.call("linear_forward", states, 1, 1, 1, torch.zeros(4), states.double(), states)
