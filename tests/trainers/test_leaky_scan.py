import pytest
import torch

from longhaul_trainers.catalogue import NONLINEARITIES
from longhaul_trainers.nonlinearities import Tanh, TanhSettings
from longhaul_trainers.scans.elman import elman_scan
from longhaul_trainers.scans.leaky import leaky_scan

T, B, H = 6, 4, 6
KEEPING = [name for name in NONLINEARITIES.names() if NONLINEARITIES.get(name).keeps_inputs]
NAMES = ["tanh", "identity", "modrelu", *KEEPING]
FORMS = [(), ("keep",), ("linear",), ("keep", "linear")]


def nonlinearity(name, slots, size=H, dtype=torch.float64):
    kind = NONLINEARITIES.get(name)
    generators = [torch.Generator().manual_seed(seed) for seed in slots]
    return kind(size, [kind.settings_type()] * len(slots), generators).to(dtype)


def draw(pack, steps=T, batch=B, size=H, dtype=torch.float64):
    """W, z, h0, g, a, A with gradients, and weights of the outputs."""
    generator = torch.Generator().manual_seed(3)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=dtype)

    leaves = {
        "recurrent": normal(pack, size, size) / size**0.5,
        "inputs": normal(steps, pack, batch, size),
        "initial": normal(pack, batch, size),
        "gain": normal(pack),
        "keep": 0.3 * normal(pack) + 0.7,
        "linear": 0.3 * normal(pack, size, size) / size**0.5,
    }
    leaves = {name: leaf.requires_grad_() for name, leaf in leaves.items()}
    return leaves, normal(steps, pack, batch, size)


def chosen(leaves, form):
    return {k: v for k, v in leaves.items() if k not in ("keep", "linear") or k in form}


def scanned(leaves, phi):
    given = dict(leaves)
    return leaky_scan(
        given.pop("recurrent"), given.pop("inputs"), given.pop("initial"), phi, **given
    )


def per_step(leaves, phi):
    """The equations, sequence by sequence and step by step."""
    W, z, h0, g = (leaves[name] for name in ("recurrent", "inputs", "initial", "gain"))
    steps, pack, batch, _ = z.shape
    slots = []
    for p in range(pack):
        h, outputs = list(h0[p]), []
        for t in range(steps):
            rows = torch.stack([W[p] @ h[k] + z[t, p, k] for k in range(batch)])
            # phi acts on a pack: the other slots' rows are not looked at.
            squashed = phi(rows.expand(pack, -1, -1))[p]
            for k in range(batch):
                kept = h[k] if "keep" not in leaves else leaves["keep"][p] * h[k]
                if "linear" in leaves:
                    kept = kept + leaves["linear"][p] @ h[k]
                h[k] = kept + g[p] * squashed[k]
            outputs.append(torch.stack(h))
        slots.append(torch.stack(outputs))
    return torch.stack(slots, dim=1)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("pack", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_values_and_gradients_equal_a_loop_over_the_equations(name, pack, form):
    phi = nonlinearity(name, range(pack))
    leaves, weights = draw(pack)
    leaves = chosen(leaves, form)
    everything = [*leaves.values(), *phi.parameters()]
    ours, expected = scanned(leaves, phi), per_step(leaves, phi)
    torch.testing.assert_close(ours, expected)
    gradients = torch.autograd.grad(ours, everything, weights)
    expected_gradients = torch.autograd.grad(expected, everything, weights)
    for gradient, wanted in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(gradient, wanted)


@pytest.mark.parametrize("form", FORMS)
def test_gradcheck(form):
    phi = nonlinearity("tanh", range(2), 3)
    leaves, _ = draw(2, 3, 2, 3)
    leaves = chosen(leaves, form)

    def run(*tensors):
        return scanned(dict(zip(leaves, tensors, strict=True)), phi)

    assert torch.autograd.gradcheck(run, tuple(leaves.values()))


def test_nothing_kept_is_the_elman_scan():
    leaves, weights = draw(2)
    W, z, h0 = leaves["recurrent"], leaves["inputs"], leaves["initial"]
    phi = Tanh(H, [TanhSettings()] * 2, [torch.Generator()] * 2)
    one, zero = torch.ones(2, dtype=z.dtype), torch.zeros(2, dtype=z.dtype)
    ours, expected = leaky_scan(W, z, h0, phi, gain=one, keep=zero), elman_scan(W, z, h0, phi)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-14)
    gradients = torch.autograd.grad(ours, [W, z, h0], weights)
    expected_gradients = torch.autograd.grad(expected, [W, z, h0], weights)
    for gradient, wanted in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(gradient, wanted)


def test_no_gain_leaves_a_linear_recurrence():
    leaves, _ = draw(1)
    leaves["gain"] = torch.zeros(1, dtype=torch.float64)
    phi = nonlinearity("tanh", [0])
    step = leaves["keep"][0] * torch.eye(H, dtype=torch.float64) + leaves["linear"][0]
    power = torch.linalg.matrix_power(step, T)
    torch.testing.assert_close(scanned(leaves, phi)[-1, 0], leaves["initial"][0] @ power.mT)


SHAPES = [(9, 20, 64), (5, 3, 7), (6, 5, 190), (7, 1, 33), (1, 3, 5), (3, 128, 100)]


@pytest.mark.parametrize("form", [(), ("keep", "linear")])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_slot_has_the_same_bits_alone_and_in_a_pack(shape, form):
    steps, batch, size = shape
    leaves, weights = draw(4, steps, batch, size, torch.float32)
    leaves = chosen(leaves, form)

    def run(slots):
        phi = nonlinearity("tanh", slots, size, torch.float32)
        mine = {
            name: (leaf[:, slots] if name == "inputs" else leaf[slots])
            .detach()
            .clone()
            .requires_grad_()
            for name, leaf in leaves.items()
        }
        outputs = scanned(mine, phi)
        return outputs, torch.autograd.grad(outputs, list(mine.values()), weights[:, slots])

    together, by_together = run([0, 1, 2, 3])
    for p in range(4):
        alone, by_alone = run([p])
        assert torch.equal(alone[:, 0], together[:, p])
        for name, one, all_slots in zip(leaves, by_alone, by_together, strict=True):
            axis = 1 if name == "inputs" else 0
            assert torch.equal(one.select(axis, 0), all_slots.select(axis, p)), name


def test_nan_in_one_slot_leaves_the_neighbours_alone():
    leaves, weights = draw(3, dtype=torch.float32)

    def run(poison):
        mine = {name: leaf.detach().clone() for name, leaf in leaves.items()}
        if poison:
            mine["linear"][1, 0, 0] = float("nan")
        mine = {name: leaf.requires_grad_() for name, leaf in mine.items()}
        outputs = scanned(mine, nonlinearity("tanh", range(3), dtype=torch.float32))
        return outputs, torch.autograd.grad(outputs, list(mine.values()), weights)

    clean, by_clean = run(False)
    dirty, by_dirty = run(True)
    assert dirty[:, 1].isnan().any()
    for p in (0, 2):
        assert torch.equal(clean[:, p], dirty[:, p])
        for name, one, other in zip(leaves, by_clean, by_dirty, strict=True):
            axis = 1 if name == "inputs" else 0
            assert torch.equal(one.select(axis, p), other.select(axis, p)), name
