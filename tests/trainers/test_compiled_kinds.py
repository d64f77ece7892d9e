"""The compiled scans against those written with torch, in odd sizes and on several threads."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from longhaul_trainers.catalogue import NONLINEARITIES
from longhaul_trainers.cells import fastrnn, goru, sru, ur_gru, ur_lstm
from longhaul_trainers.scans import gated, gru, linear, unicornn
from longhaul_trainers.scans.diagonal import diagonal_scan
from longhaul_trainers.scans.native import diagonal, library

pytestmark = pytest.mark.skipif(library.library() is None, reason="no C++ compiler here")

SHAPES = [(6, 1, 4, 5), (5, 3, 7, 64), (3, 2, 13, 70), (1, 1, 1, 1), (2, 1, 40, 128), (9, 4, 6, 33)]
GATED = {  # the kind, and its numbers of input products, parameters a unit, states
    "fastgrnn": (fastrnn._FASTGRNN, 1, 4, 1),
    "goru": (goru._GORU, 3, 1, 1),
    "sru": (sru._SRU, 2, 2, 1),
    "ur_gru u": (ur_gru._KINDS[False], 3, 1, 1),
    "ur_gru ur": (ur_gru._KINDS[True], 4, 1, 1),
    "ur_lstm u": (ur_lstm._KINDS[False], 3, 0, 2),
    "ur_lstm ur": (ur_lstm._KINDS[True], 4, 0, 2),
}
CASES = [
    *GATED,
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


def case(
    name: str, shape: tuple[int, int, int, int], dtype: torch.dtype
) -> tuple[Callable[..., Any], list[torch.Tensor]]:
    """The scan and the tensors that it takes."""
    T, P, B, H = shape
    z, h = drawn(T, P, B, H, dtype=dtype), drawn(P, B, H, dtype=dtype)
    if name == "gru":
        U, products = drawn(P, 3 * H, H, dtype=dtype) / H**0.5, drawn(T, P, B, 3 * H, dtype=dtype)
        return gru.gru_scan, [U, drawn(P, H, dtype=dtype), products, h]
    if name in GATED:
        kind, inputs, units, states = GATED[name]

        def gated_scan(U, q, x, *state):
            outputs, last = gated.gated_scan(kind, U, q, x, state)
            return outputs, *last[1:]

        U = drawn(P, kind.products * H, H, dtype=dtype) / H**0.5
        x, q = drawn(T, P, B, inputs * H, dtype=dtype), drawn(P, units, H, dtype=dtype)
        return gated_scan, [U, q, x, *(drawn(P, B, H, dtype=dtype, seed=i) for i in range(states))]
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
    # an empty tensor stands for what a cell has not, and need not be read
    leaves = [one for one in leaves if one.numel()]
    return [*found, *torch.autograd.grad(found, leaves, weights)]


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-11), (torch.float32, 1e-4)])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", CASES)
def test_equals_the_scan_written_with_torch(name, shape, dtype, rtol, monkeypatch):
    ours = run(name, shape, dtype)
    for module in (gated, gru, linear, unicornn, diagonal):
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
                multiplies = name == "gru" or (name in GATED and name != "sru")
                skipped = 1 + (name[:7] == "ur_lstm") if multiplies else None
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
        leaves[2 if name in ("gru", "unicornn", *GATED) else 1][2, 1, 0] = torch.nan
        dirty = scan(*leaves)
    clean, dirty = (one[0] if isinstance(one, tuple) else one for one in (clean, dirty))
    assert dirty[2:, 1, 0].isnan().any()
    assert torch.equal(clean[:, ::2], dirty[:, ::2])
    assert torch.equal(clean[:2], dirty[:2])


@pytest.mark.parametrize("name", GATED)
def test_gradcheck(name):
    scan, leaves = case(name, (3, 2, 2, 3), torch.float64)
    assert torch.autograd.gradcheck(scan, [one.requires_grad_() for one in leaves], fast_mode=True)


@pytest.mark.parametrize("name", GATED)
def test_a_gated_slot_has_the_same_bits_alone_and_in_a_pack(name):
    scan, leaves = case(name, (5, 4, 7, 21), torch.float32)

    def both_ways(slots):
        mine = [one[:, slots] if i == 2 else one[slots] for i, one in enumerate(leaves)]
        mine = [one.detach().clone().requires_grad_() for one in mine]
        outputs = scan(*mine)[0]
        return outputs, torch.autograd.grad(outputs.square().sum(), mine)

    together, by_together = both_ways([0, 1, 2, 3])
    for p in range(4):
        alone, by_alone = both_ways([p])
        assert torch.equal(alone[:, 0], together[:, p])
        for i, (one, other) in enumerate(zip(by_alone, by_together, strict=True)):
            axis = 1 if i == 2 else 0
            assert torch.equal(one.select(axis, 0), other.select(axis, p)), i


def test_tensors_of_two_types_are_refused():
    states = torch.zeros(1, 3, 2, 4)
    with pytest.raises(ValueError, match="one type"):
        library.call("linear_forward", states, 1, 1, 1, torch.zeros(4), states.double(), states)
