"""The Elman scan with its input product inside against the two apart, and its bits."""

import pytest
import torch

from longhaul_trainers.catalogue import NONLINEARITIES
from longhaul_trainers.scans import driven_elman
from longhaul_trainers.scans.driven_elman import driven_elman_scan
from longhaul_trainers.scans.native import library

needs_compiler = pytest.mark.skipif(library.library() is None, reason="no C++ compiler here")
COMPILED = ["identity", "leaky_relu", "modrelu", "relu", "tanh"]
# steps, slots, batch, units: whole vectors and not, one chunk of the batch and several
SHAPES = [(6, 1, 4, 5), (5, 3, 7, 64), (12, 1, 45, 33), (30, 2, 20, 16), (1, 1, 1, 1)]
INPUTS = 7


def nonlinearity(name, pack, size, dtype):
    kind = NONLINEARITIES.get(name)
    generators = [torch.Generator().manual_seed(p) for p in range(pack)]
    return kind(size, [kind.settings_type()] * pack, generators).to(dtype)


def tensors(shape, dtype, *, bias):
    """W, x, V, b, h0, and weights of the outputs."""
    steps, pack, batch, size = shape
    drawn = torch.Generator().manual_seed(1)

    def draw(*sizes):
        return torch.randn(*sizes, generator=drawn).to(dtype)

    recurrent = draw(pack, size, size) / (2 * size**0.5)
    given = [recurrent, draw(steps, pack, batch, INPUTS), draw(pack, size, INPUTS)]
    given += [draw(pack, size) if bias else None, draw(pack, batch, size)]
    return given, draw(steps, pack, batch, size)


def run(name, shape, dtype=torch.float32, *, bias=True, change=None):
    """The outputs, and the gradients by W, V, b, h0 and phi's parameters."""
    given, weights = tensors(shape, dtype, bias=bias)
    if change is not None:
        change(given)
    phi = nonlinearity(name, shape[1], shape[3], dtype)
    leaves = [one.requires_grad_() for i, one in enumerate(given) if i != 1 and one is not None]
    outputs = driven_elman_scan(*given, phi)
    return outputs.detach(), *torch.autograd.grad(outputs, [*leaves, *phi.parameters()], weights)


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@needs_compiler
@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", COMPILED)
def test_equals_the_product_before_the_scan(name, shape, dtype, rtol, monkeypatch):
    for bias in (True, False):
        inside = run(name, shape, dtype, bias=bias)
        with monkeypatch.context() as patch:
            patch.setattr(driven_elman, "compiled_elman", lambda *_: None)
            apart = run(name, shape, dtype, bias=bias)
        for one, other in zip(inside, apart, strict=True):
            assert torch.linalg.vector_norm(one - other) <= rtol * torch.linalg.vector_norm(other)


@needs_compiler
@pytest.mark.parametrize("name", ["modrelu", "tanh"])
def test_gradients_are_those_of_the_outputs(name):
    given, _ = tensors((4, 2, 3, 5), torch.float64, bias=True)
    phi = nonlinearity(name, 2, 5, torch.float64)
    inputs = given.pop(1)
    leaves = [one.requires_grad_() for one in given]

    def scan(recurrent, weight, bias, initial):
        return driven_elman_scan(recurrent, inputs, weight, bias, initial, phi)

    assert torch.autograd.gradcheck(scan, leaves)


@needs_compiler
@pytest.mark.parametrize("shape", [(9, 1, 45, 33), (8, 1, 20, 64), (7, 3, 41, 16)])
def test_bits_do_not_depend_on_the_number_of_threads(shape, threads):
    threads(1)
    alone = run("modrelu", shape)
    for count in (2, 3, 5):
        threads(count)
        for one, other in zip(alone, run("modrelu", shape), strict=True):
            assert torch.equal(one, other)


@needs_compiler
@pytest.mark.parametrize("count", [1, 4, 16])
def test_bits_do_not_depend_on_the_pack(count, threads):
    threads(3)
    shape = (8, 16, 21, 33)
    given, weights = tensors(shape, torch.float32, bias=True)
    phi = nonlinearity("tanh", 16, 33, torch.float32)

    def part(slots):
        taken = [given[0][slots], given[1][:, slots], *[one[slots] for one in given[2:]]]
        leaves = [one.requires_grad_() for i, one in enumerate(taken) if i != 1]
        outputs = driven_elman_scan(*taken, phi)
        return outputs, *torch.autograd.grad(outputs, leaves, weights[:, slots])

    whole = part(slice(0, 16))
    few = part(slice(16 - count, 16))
    assert torch.equal(whole[0][:, -count:], few[0])
    for one, other in zip(whole[1:], few[1:], strict=True):
        assert torch.equal(one[-count:], other)


@needs_compiler
def test_nan_in_one_slot_stays_there(threads):
    threads(2)
    shape = (6, 3, 20, 33)

    def spoil(given):
        given[0][1, 4, 4] = float("nan")

    sound, spoilt = run("modrelu", shape), run("modrelu", shape, change=spoil)
    assert spoilt[0][:, 1].isnan().any()
    assert spoilt[1][1].isnan().any()
    assert torch.equal(sound[0][:, ::2], spoilt[0][:, ::2])
    for one, other in zip(sound[1:], spoilt[1:], strict=True):
        assert torch.equal(one[::2], other[::2])


def test_inputs_that_are_trained_get_their_gradient():
    given, weights = tensors((5, 2, 3, 4), torch.float64, bias=True)
    phi = nonlinearity("tanh", 2, 4, torch.float64)
    given[1].requires_grad_()
    outputs = driven_elman_scan(*given, phi)
    (gradient,) = torch.autograd.grad(outputs, [given[1]], weights)
    assert gradient.shape == (5, 2, 3, INPUTS)
    assert gradient.abs().min() > 0
