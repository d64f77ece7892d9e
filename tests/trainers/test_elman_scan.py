import pytest
import torch

from longhaul_trainers.catalogue import NONLINEARITIES
from longhaul_trainers.nonlinearities import Tanh, TanhSettings
from longhaul_trainers.scans.elman import elman_scan
from longhaul_trainers.scans.inputs import hoisted_input_product

T, B, I, H = 6, 4, 3, 6  # noqa: E741

PAIRING = ("complex_modrelu", "oplu")
"""Nonlinearities that need an even number of rows."""


def nonlinearity(name, pack, hidden_size=H, dtype=torch.float64):
    kind = NONLINEARITIES.get(name)
    generators = [torch.Generator().manual_seed(seed) for seed in range(pack)]
    return kind(hidden_size, [kind.settings_type()] * pack, generators).to(dtype)


def draw(pack, steps=T, batch=B, inputs=I, size=H, dtype=torch.float64):
    """W, V, b, x, h0 with gradients, and weights of the outputs."""
    generator = torch.Generator().manual_seed(3)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=dtype)

    leaves = [
        normal(pack, size, size) / size**0.5,
        normal(pack, size, inputs),
        normal(pack, size),
        normal(steps, pack, batch, inputs),
        normal(pack, batch, size),
    ]
    return [leaf.requires_grad_() for leaf in leaves], normal(steps, pack, batch, size)


def scanned(leaves, phi):
    W, V, b, x, h0 = leaves
    return elman_scan(W, hoisted_input_product(x, V, b), h0, phi)


def per_step(leaves, phi):
    """The equations, sequence by sequence and step by step."""
    W, V, b, x, h0 = leaves
    steps, pack, batch, _ = x.shape
    slots = []
    for p in range(pack):
        h, outputs = h0[p], []
        for t in range(steps):
            rows = [W[p] @ h[k] + V[p] @ x[t, p, k] + b[p] for k in range(batch)]
            z = torch.stack(rows)
            # phi acts on a pack: the other slots' rows are not looked at.
            h = phi(z.expand(pack, -1, -1))[p]
            outputs.append(h)
        slots.append(torch.stack(outputs))
    return torch.stack(slots, dim=1)


@pytest.mark.parametrize("pack", [1, 3])
@pytest.mark.parametrize("name", NONLINEARITIES.names())
def test_values_and_gradients_equal_a_loop_over_the_equations(name, pack):
    phi = nonlinearity(name, pack)
    leaves, weights = draw(pack)
    everything = [*leaves, *phi.parameters()]
    ours, expected = scanned(leaves, phi), per_step(leaves, phi)
    torch.testing.assert_close(ours, expected)
    gradients = torch.autograd.grad(ours, everything, weights)
    expected_gradients = torch.autograd.grad(expected, everything, weights)
    for gradient, wanted in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(gradient, wanted)


@pytest.mark.parametrize("name", NONLINEARITIES.names())
def test_gradcheck(name):
    phi = nonlinearity(name, 2)
    (W, _, _, _, h0), weights = draw(2)
    z = weights.clone().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda W, z, h0, *_: elman_scan(W, z, h0, phi), (W, z, h0, *phi.parameters())
    )


def test_without_bias():
    (_, V, b, x, _), _ = draw(2)
    expected = torch.einsum("pgi,tpbi->tpbg", V, x)
    torch.testing.assert_close(hoisted_input_product(x, V), expected)
    torch.testing.assert_close(hoisted_input_product(x, V, b), expected + b[:, None])


def test_carried_state_splits_a_sequence():
    phi = nonlinearity("modrelu", 2)
    (W, V, b, x, h0), weights = draw(2)
    z = hoisted_input_product(x, V, b)
    whole = elman_scan(W, z, h0, phi)
    first = elman_scan(W, z[:2], h0, phi)
    second = elman_scan(W, z[2:], first[-1], phi)
    split = torch.cat([first, second])
    torch.testing.assert_close(split, whole)
    leaves = [W, V, b, x, h0, *phi.parameters()]
    gradients = torch.autograd.grad(split, leaves, weights, retain_graph=True)
    expected = torch.autograd.grad(whole, leaves, weights)
    for gradient, wanted in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient, wanted)


SHAPES = [
    # T, B, I, H: the usual, odd tails of vector loops, vectors, one step, wide
    (20, 20, 10, 64),
    (5, 3, 1, 7),
    (9, 5, 10, 190),
    (7, 1, 2, 33),
    (1, 3, 10, 5),
    (3, 128, 3, 100),
]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", NONLINEARITIES.names())
def test_a_slot_has_the_same_bits_alone_and_in_a_pack(name, shape):
    steps, batch, inputs, size = shape
    size += size % 2 if name in PAIRING else 0
    leaves, weights = draw(4, steps, batch, inputs, size, torch.float32)

    def run(slots):
        kind = NONLINEARITIES.get(name)
        generators = [torch.Generator().manual_seed(p) for p in slots]
        phi = kind(size, [kind.settings_type()] * len(slots), generators)
        W, V, b, x, h0 = leaves
        mine = [W[slots], V[slots], b[slots], x[:, slots], h0[slots]]
        mine = [leaf.detach().clone().requires_grad_() for leaf in mine]
        outputs = scanned(mine, phi)
        everything = [*mine, *phi.parameters()]
        return outputs, torch.autograd.grad(outputs, everything, weights[:, slots])

    together, by_together = run([0, 1, 2, 3])
    for p in range(4):
        alone, by_alone = run([p])
        assert torch.equal(alone[:, 0], together[:, p])
        for which, (one, all_slots) in enumerate(zip(by_alone, by_together, strict=True)):
            axis = 1 if which == 3 else 0
            assert torch.equal(one.select(axis, 0), all_slots.select(axis, p)), which


def test_nan_in_one_slot_leaves_the_neighbours_alone():
    phi = Tanh(H, [TanhSettings()] * 3, [torch.Generator()] * 3)
    leaves, weights = draw(3, dtype=torch.float32)

    def run(poison):
        mine = [leaf.detach().clone() for leaf in leaves]
        if poison:
            mine[0][1, 0, 0] = float("nan")
        mine = [leaf.requires_grad_() for leaf in mine]
        outputs = scanned(mine, phi)
        return outputs, torch.autograd.grad(outputs, mine, weights)

    clean, by_clean = run(poison=False)
    dirty, by_dirty = run(poison=True)
    assert dirty[:, 1].isnan().any()
    for p in (0, 2):
        assert torch.equal(clean[:, p], dirty[:, p])
        for which, (one, other) in enumerate(zip(by_clean, by_dirty, strict=True)):
            axis = 1 if which == 3 else 0
            assert torch.equal(one.select(axis, p), other.select(axis, p))


def test_a_second_derivative_is_refused_not_wrong():
    phi = nonlinearity("tanh", 1)
    leaves, weights = draw(1)
    (gradient,) = torch.autograd.grad(scanned(leaves, phi), leaves[0], weights, create_graph=True)
    with pytest.raises(RuntimeError, match="does not require grad"):
        gradient.sum().backward()
