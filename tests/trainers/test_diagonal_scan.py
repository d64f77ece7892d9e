import pytest
import torch

from longhaul_trainers.catalogue import NONLINEARITIES
from longhaul_trainers.scans.diagonal import diagonal_scan
from longhaul_trainers.scans.native import diagonal, library

T, B, H = 6, 3, 4


@pytest.fixture(autouse=True, params=["compiled", "torch"])
def _scans(request, monkeypatch):
    """Runs a test with the compiled scan, and with the one written with torch."""
    if request.param == "compiled" and library.library() is None:
        pytest.skip("no C++ compiler here")
    if request.param == "torch":
        monkeypatch.setattr(diagonal, "serves", lambda states: False)


def nonlinearity(name, slots, hidden_size=H, dtype=torch.float64):
    kind = NONLINEARITIES.get(name)
    generators = [torch.Generator().manual_seed(p) for p in slots]
    return kind(hidden_size, [kind.settings_type()] * len(slots), generators).to(dtype)


def draw(pack, steps=T, batch=B, size=H, dtype=torch.float64):
    """u, z, h0 with gradients, and weights of the outputs."""
    generator = torch.Generator().manual_seed(3)
    shapes = [(pack, size), (steps, pack, batch, size), (pack, batch, size)]
    u, z, h0, weights = (
        torch.randn(*shape, generator=generator, dtype=dtype) for shape in (*shapes, shapes[1])
    )
    return [leaf.requires_grad_() for leaf in (u, z, h0)], weights


@pytest.mark.parametrize("pack", [1, 3])
@pytest.mark.parametrize("name", NONLINEARITIES.names())
def test_values_and_gradients_equal_a_loop_over_the_equations(name, pack):
    phi = nonlinearity(name, range(pack))
    (u, z, h0), weights = draw(pack)
    h, expected = h0, []
    for t in range(T):
        h = phi(u[:, None] * h + z[t])
        expected.append(h)
    expected, ours = torch.stack(expected), diagonal_scan(u, z, h0, phi)
    torch.testing.assert_close(ours, expected)
    leaves = [u, z, h0, *phi.parameters()]
    wanted = torch.autograd.grad(expected, leaves, weights)
    for gradient, other in zip(torch.autograd.grad(ours, leaves, weights), wanted, strict=True):
        torch.testing.assert_close(gradient, other)


def test_gradcheck():
    phi = nonlinearity("modrelu", range(2))
    leaves, _ = draw(2)
    assert torch.autograd.gradcheck(
        lambda u, z, h0, *_: diagonal_scan(u, z, h0, phi), (*leaves, *phi.parameters())
    )


def test_carried_state_splits_a_sequence():
    phi = nonlinearity("tanh", range(2))
    (u, z, h0), _ = draw(2)
    first = diagonal_scan(u, z[:2], h0, phi)
    second = diagonal_scan(u, z[2:], first[-1], phi)
    torch.testing.assert_close(torch.cat([first, second]), diagonal_scan(u, z, h0, phi))


@pytest.mark.parametrize("shape", [(20, 20, 64), (5, 3, 6), (7, 1, 34), (1, 3, 10), (9, 5, 190)])
@pytest.mark.parametrize("name", ["relu", "tanh", "modrelu"])
def test_a_slot_has_the_same_bits_alone_and_in_a_pack(name, shape):
    leaves, weights = draw(4, *shape, dtype=torch.float32)

    def run(slots):
        phi = nonlinearity(name, slots, shape[-1], torch.float32)
        u, z, h0 = leaves
        mine = [u[slots], z[:, slots], h0[slots]]
        mine = [leaf.detach().clone().requires_grad_() for leaf in mine]
        outputs = diagonal_scan(*mine, phi)
        return outputs, torch.autograd.grad(outputs, [*mine, *phi.parameters()], weights[:, slots])

    together, by_together = run([0, 1, 2, 3])
    for p in range(4):
        alone, by_alone = run([p])
        assert torch.equal(alone[:, 0], together[:, p])
        for which, (one, all_slots) in enumerate(zip(by_alone, by_together, strict=True)):
            axis = 1 if which == 1 else 0
            assert torch.equal(one.select(axis, 0), all_slots.select(axis, p)), which


def test_nan_in_one_slot_leaves_the_neighbours_alone():
    phi = nonlinearity("relu", range(3))
    leaves, weights = draw(3)

    def run(poison):
        mine = [leaf.detach().clone() for leaf in leaves]
        if poison:
            mine[0][1, 0] = float("nan")
        mine = [leaf.requires_grad_() for leaf in mine]
        outputs = diagonal_scan(*mine, phi)
        return outputs, torch.autograd.grad(outputs, mine, weights)

    clean, by_clean = run(poison=False)
    dirty, by_dirty = run(poison=True)
    assert dirty[:, 1].isnan().any()
    assert torch.equal(clean[:, ::2], dirty[:, ::2])
    for which, (one, other) in enumerate(zip(by_clean, by_dirty, strict=True)):
        axis = 1 if which == 1 else 0
        assert all(torch.equal(one.select(axis, p), other.select(axis, p)) for p in (0, 2))
