import pytest
import torch

from longhaul_trainers.scans import cornn, lem, unicornn
from longhaul_trainers.scans.cornn import cornn_scan
from longhaul_trainers.scans.lem import lem_scan
from longhaul_trainers.scans.native import library
from longhaul_trainers.scans.unicornn import unicornn_scan

T, P, B, H = 6, 3, 4, 5


def normal(*shape, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(sum(shape) + seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


def vector(low, high, pack, dtype):
    return torch.linspace(low, high, pack, dtype=torch.float64).to(dtype)


class CoRNN:
    """How the tests call one scan, and its equations for a single sequence."""

    @staticmethod
    def leaves(steps, pack, batch, size, dtype):
        return [
            normal(pack, size, 2 * size, dtype=dtype) / size**0.5,
            normal(steps, pack, batch, size, dtype=dtype),
            normal(pack, batch, size, dtype=dtype),
            normal(pack, batch, size, dtype=dtype, seed=1),
        ]

    @staticmethod
    def constants(pack, dtype):
        return {
            "keep": vector(0.8, 0.95, pack, dtype),
            "pull": vector(-0.1, -1, pack, dtype),
            "push": vector(0.1, 0.2, pack, dtype),
            "dt": vector(0.05, 0.3, pack, dtype),
        }

    scan = staticmethod(cornn_scan)

    @staticmethod
    def one(W, u, y, z, keep, pull, push, dt):
        outputs = []
        for force in u:
            n = len(y)
            squashed = torch.tanh(W[:, :n] @ y + W[:, n:] @ z + force)
            z = keep * z + pull * y + push * squashed
            y = y + dt * z
            outputs.append(y)
        return torch.stack(outputs), z


class LEM:
    @staticmethod
    def leaves(steps, pack, batch, size, dtype):
        return [
            normal(pack, 3 * size, size, dtype=dtype) / size**0.5,
            normal(pack, size, size, dtype=dtype) / size**0.5,
            normal(steps, pack, batch, 4 * size, dtype=dtype),
            normal(pack, batch, size, dtype=dtype),
            normal(pack, batch, size, dtype=dtype, seed=1),
        ]

    @staticmethod
    def constants(pack, dtype):
        return {"dt": vector(0.05, 1, pack, dtype)}

    scan = staticmethod(lem_scan)

    @staticmethod
    def one(W, inner, u, y, z, dt):
        W1, W2, Wz = W.chunk(3)
        outputs = []
        for u1, u2, uz, uy in (one.chunk(4) for one in u):
            dt1, dt2 = dt * torch.sigmoid(W1 @ y + u1), dt * torch.sigmoid(W2 @ y + u2)
            z = (1 - dt2) * z + dt2 * torch.tanh(Wz @ y + uz)
            y = (1 - dt1) * y + dt1 * torch.tanh(inner @ z + uy)
            outputs.append(y)
        return torch.stack(outputs), z


class UnICORNN:
    @staticmethod
    def leaves(steps, pack, batch, size, dtype):
        return [
            normal(pack, size, dtype=dtype),
            normal(pack, size, dtype=dtype, seed=1) / 4,
            normal(steps, pack, batch, size, dtype=dtype),
            normal(pack, batch, size, dtype=dtype),
            normal(pack, batch, size, dtype=dtype, seed=1),
        ]

    @staticmethod
    def constants(pack, dtype):
        return {"alpha": vector(0, 3, pack, dtype)}

    scan = staticmethod(unicornn_scan)

    @staticmethod
    def one(w, d, u, y, z, alpha):
        outputs = []
        for force in u:
            z = z - d * (torch.tanh(w * y + force) + alpha * y)
            y = y + d * z
            outputs.append(y)
        return torch.stack(outputs), z


every_scan = pytest.mark.parametrize(
    ("kind", "compiled"),
    [(CoRNN, False), (CoRNN, True), (LEM, False), (LEM, True), (UnICORNN, False), (UnICORNN, True)],
)


@pytest.fixture(autouse=True)
def choose(request, monkeypatch):
    """Runs a test with the compiled scans, or with those written with torch."""
    if request.node.callspec.params.get("compiled"):
        if library.library() is None:
            pytest.skip("no C++ compiler here")
    else:
        for module in (cornn, lem, unicornn):
            monkeypatch.setattr(module, "serves", lambda states: False)


@every_scan
@pytest.mark.parametrize("pack", [1, P])
def test_values_and_gradients_equal_a_loop_over_the_equations(kind, compiled, pack):
    leaves = [leaf.requires_grad_() for leaf in kind.leaves(T, pack, B, H, torch.float64)]
    constants = kind.constants(pack, torch.float64)
    outputs, last = kind.scan(*leaves, **constants)
    expected = torch.empty_like(outputs)
    expected_last = torch.empty_like(last)
    *weights, inputs, initial, second = leaves
    for p in range(pack):
        for k in range(B):
            found, end = kind.one(
                *(weight[p] for weight in weights),
                inputs[:, p, k],
                initial[p, k],
                second[p, k],
                *(one[p] for one in constants.values()),
            )
            expected[:, p, k], expected_last[p, k] = found, end
    torch.testing.assert_close(outputs, expected)
    torch.testing.assert_close(last, expected_last)
    by_outputs, by_last = normal(T, pack, B, H), normal(pack, B, H)
    gradients = torch.autograd.grad([outputs, last], leaves, [by_outputs, by_last])
    wanted = torch.autograd.grad([expected, expected_last], leaves, [by_outputs, by_last])
    for gradient, one in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(gradient, one)


@every_scan
def test_gradcheck(kind, compiled):
    leaves = [leaf.requires_grad_() for leaf in kind.leaves(3, 2, 2, 3, torch.float64)]
    constants = kind.constants(2, torch.float64)
    assert torch.autograd.gradcheck(lambda *given: kind.scan(*given, **constants), leaves)


SHAPES = [(9, 20, 64), (5, 3, 7), (6, 5, 190), (7, 1, 33), (1, 3, 5), (1, 1, 4), (3, 128, 100)]


@every_scan
@pytest.mark.parametrize("shape", SHAPES)
def test_a_slot_has_the_same_bits_alone_and_in_a_pack(kind, compiled, shape):
    steps, batch, size = shape
    leaves = kind.leaves(steps, 4, batch, size, torch.float32)
    constants = kind.constants(4, torch.float32)
    by_outputs, by_last = normal(steps, 4, batch, size), normal(4, batch, size)

    def run(slots):
        *weights, inputs, initial, second = leaves
        mine = [weight[slots] for weight in weights]
        mine += [inputs[:, slots], initial[slots], second[slots]]
        mine = [leaf.clone().requires_grad_() for leaf in mine]
        found = kind.scan(*mine, **{name: one[slots] for name, one in constants.items()})
        by = [by_outputs[:, slots].float(), by_last[slots].float()]
        return found, torch.autograd.grad(found, mine, by)

    (outputs, last), gradients = run([0, 1, 2, 3])
    for p in range(4):
        (alone, end), by_alone = run([p])
        assert torch.equal(alone[:, 0], outputs[:, p])
        assert torch.equal(end[0], last[p])
        for which, (one, all_slots) in enumerate(zip(by_alone, gradients, strict=True)):
            axis = 1 if which == len(gradients) - 3 else 0
            assert torch.equal(one.select(axis, 0), all_slots.select(axis, p)), which


@every_scan
def test_nan_in_one_slot_leaves_the_neighbours_alone(kind, compiled):
    def run(poison):
        leaves = kind.leaves(T, P, B, H, torch.float32)
        if poison:
            leaves[0][1].fill_(float("nan"))
        leaves = [leaf.requires_grad_() for leaf in leaves]
        outputs, last = kind.scan(*leaves, **kind.constants(P, torch.float32))
        by = [normal(T, P, B, H).float(), normal(P, B, H).float()]
        return outputs, torch.autograd.grad([outputs, last], leaves, by)

    clean, by_clean = run(False)
    dirty, by_dirty = run(True)
    assert dirty[:, 1].isnan().any()
    for p in (0, 2):
        assert torch.equal(clean[:, p], dirty[:, p])
        for which, (one, other) in enumerate(zip(by_clean, by_dirty, strict=True)):
            axis = 1 if which == len(by_clean) - 3 else 0
            assert torch.equal(one.select(axis, p), other.select(axis, p)), which


@pytest.mark.parametrize("compiled", [True])
@pytest.mark.parametrize("kind", [CoRNN, LEM, UnICORNN])
@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-11), (torch.float32, 1e-4)])
def test_compiled_equals_what_is_written_with_torch(kind, compiled, dtype, rtol, monkeypatch):
    def run():
        leaves = [leaf.requires_grad_() for leaf in kind.leaves(9, 2, 7, 37, dtype)]
        outputs, last = kind.scan(*leaves, **kind.constants(2, dtype))
        by = [normal(9, 2, 7, 37).to(dtype), normal(2, 7, 37).to(dtype)]
        return outputs, last, *torch.autograd.grad([outputs, last], leaves, by)

    ours = run()
    for module in (cornn, lem, unicornn):
        monkeypatch.setattr(module, "serves", lambda states: False)
    plain = run()
    assert not torch.equal(ours[0], plain[0])
    for one, other in zip(ours, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=rtol, atol=rtol * 10)
