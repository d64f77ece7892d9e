"""The Elman scan with its readout inside against the two apart, and its bits."""

from itertools import pairwise

import pytest
import torch

from longhaul_trainers.catalogue import NONLINEARITIES
from longhaul_trainers.readout import Readout
from longhaul_trainers.scans.driven_elman import driven_elman_scan
from longhaul_trainers.scans.native import library
from longhaul_trainers.scans.read_elman import read_elman_scan

pytestmark = pytest.mark.skipif(library.library() is None, reason="no C++ compiler here")
# steps, slots, batch, units, classes: whole vectors and not, one chunk of the batch and several
SHAPES = [
    (6, 1, 4, 5, 3),
    (5, 3, 7, 64, 9),
    (12, 1, 45, 33, 17),
    (30, 2, 20, 16, 1),
    (1, 1, 1, 1, 2),
]
INPUTS = 7


class Drawn:
    """Leaves (W, V, b, h0, K, k), inputs, phi, and weights of what comes out."""

    def __init__(self, name, shape, dtype=torch.float32):
        steps, pack, batch, size, classes = shape
        generator = torch.Generator().manual_seed(1)

        def draw(*sizes):
            return torch.randn(*sizes, generator=generator).to(dtype)

        self.inputs = draw(steps, pack, batch, INPUTS)
        self.leaves = [draw(pack, size, size) / (2 * size**0.5), draw(pack, size, INPUTS)]
        self.leaves += [draw(pack, size), draw(pack, batch, size)]
        self.leaves += [draw(pack, size, classes), draw(pack, 1, classes)]
        self.weights = [draw(pack, steps, batch, classes), draw(pack, batch, size)]
        kind = NONLINEARITIES.get(name)
        generators = [torch.Generator().manual_seed(p) for p in range(pack)]
        self.phi = kind(size, [kind.settings_type()] * pack, generators).to(dtype)

    def run(self, *, inside=True, last_only=False, counts=(True, True)):
        """What is read, the last state, and the gradients of those of them that count."""
        for one in self.leaves:
            one.requires_grad_()
        recurrent, weight, bias, initial, *read = self.leaves
        driven = (recurrent, self.inputs, weight, bias, initial, self.phi)
        readout = Readout(*read, last_only)
        if inside:
            found = read_elman_scan(*driven, readout)
        else:
            hidden = driven_elman_scan(*driven)
            found = (readout(hidden), hidden[-1])
        outputs, last = self.weights
        given = (outputs[:, -1:] if last_only else outputs, last)
        chosen = [
            one
            for one, counted in zip(zip(found, given, strict=True), counts, strict=True)
            if counted
        ]
        leaves = [*self.leaves, *self.phi.parameters()]
        roots, given = zip(*chosen, strict=True)
        gradients = torch.autograd.grad(
            roots, leaves, given, allow_unused=True, materialize_grads=True
        )
        return [one.detach() for one in (*found, *gradients)]

    def part(self, slots):
        """The same of some of the slots."""
        some = object.__new__(Drawn)
        some.inputs = self.inputs[:, slots]
        some.leaves = [one.detach()[slots].clone() for one in self.leaves]
        some.weights = [one[slots] for one in self.weights]
        some.phi = self.phi
        return some


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-12), (torch.float32, 2e-5)])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["tanh", "modrelu"])
def test_equals_the_readout_after_the_scan(name, shape, dtype, rtol):
    drawn = Drawn(name, shape, dtype)
    for last_only in (False, True):
        for counts in ((True, True), (True, False), (False, True)):
            inside = drawn.run(last_only=last_only, counts=counts)
            apart = drawn.run(inside=False, last_only=last_only, counts=counts)
            for one, other in zip(inside, apart, strict=True):
                assert torch.linalg.vector_norm(one - other) <= rtol * torch.linalg.vector_norm(
                    other
                )


@pytest.mark.parametrize("last_only", [False, True])
def test_gradients_are_those_of_the_outputs(last_only):
    drawn = Drawn("modrelu", (4, 2, 3, 5, 3), torch.float64)

    def scan(recurrent, weight, bias, initial, *read):
        readout = Readout(*read, last_only)
        return read_elman_scan(recurrent, drawn.inputs, weight, bias, initial, drawn.phi, readout)

    assert torch.autograd.gradcheck(scan, [one.requires_grad_() for one in drawn.leaves])


@pytest.mark.parametrize("shape", [(9, 1, 45, 33, 9), (8, 1, 20, 64, 9), (7, 3, 41, 16, 5)])
def test_bits_do_not_depend_on_the_number_of_threads(shape, threads):
    drawn = Drawn("modrelu", shape)
    found = []
    for count in (1, 2, 3, 5):
        threads(count)
        found.append(drawn.run())
    for before, after in pairwise(found):
        assert all(map(torch.equal, before, after))


@pytest.mark.parametrize("count", [1, 4])
def test_bits_do_not_depend_on_the_pack(count, threads):
    threads(3)
    drawn = Drawn("tanh", (8, 16, 21, 33, 9))
    whole, few = drawn.run(), drawn.part(slice(16 - count, 16)).run()
    for one, other in zip(whole, few, strict=True):
        assert torch.equal(one[-count:], other)


def test_nan_in_one_slot_stays_there(threads):
    threads(2)
    sound = Drawn("modrelu", (6, 3, 20, 33, 9))
    spoilt = Drawn("modrelu", (6, 3, 20, 33, 9))
    spoilt.leaves[0][1, 4, 4] = float("nan")
    found = spoilt.run()
    for one, other in zip(sound.run(), found, strict=True):
        assert torch.equal(one[::2], other[::2])
    outputs, last, by_recurrent, *_ = found
    assert all(one[1].isnan().any() for one in (outputs, last, by_recurrent))
