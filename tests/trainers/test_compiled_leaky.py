"""The compiled leaky scan against the one written with torch."""

from dataclasses import replace

import pytest
import torch

from longhaul_trainers.catalogue import NONLINEARITIES
from longhaul_trainers.scans.leaky import leaky_scan
from longhaul_trainers.scans.native import leaky, library

pytestmark = pytest.mark.skipif(library.library() is None, reason="no C++ compiler here")

SHAPES = [
    (6, 1, 4, 5),
    (5, 3, 7, 64),
    (3, 2, 13, 70),
    (1, 1, 1, 1),
    (2, 1, 40, 128),
    (40, 2, 29, 33),
]
NAMES = ["identity", "leaky_relu", "modrelu", "relu", "tanh"]
FORMS = [(), ("keep",), ("linear",), ("keep", "linear")]
BOTH = FORMS[-1]
KEYS = ("recurrent", "inputs", "initial", "gain")


def nonlinearity(name, slots, size, dtype):
    kind = NONLINEARITIES.get(name)
    settings = [kind.settings_type() for _ in slots]
    if name == "leaky_relu":
        settings = [replace(settings[0], slope=0.1 + p / 10) for p in slots]
    generators = [torch.Generator().manual_seed(p) for p in slots]
    return kind(size, settings, generators).to(dtype)


def drawn(shape, dtype, form=BOTH):
    """What the scan takes by name, and weights of the outputs."""
    steps, pack, batch, size = shape
    generator = torch.Generator().manual_seed(sum(shape))

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    given = {
        "recurrent": normal(pack, size, size) / size**0.5,
        "inputs": normal(steps, pack, batch, size),
        "initial": normal(pack, batch, size),
        "gain": normal(pack) / 3,
        "keep": 0.1 * normal(pack) + 0.7,
        "linear": 0.3 * normal(pack, size, size) / size**0.5,
    }
    return {key: given[key] for key in (*KEYS, *form)}, normal(steps, pack, batch, size)


def scanned(given, phi):
    rest = {key: one for key, one in given.items() if key not in KEYS[:3]}
    return leaky_scan(given["recurrent"], given["inputs"], given["initial"], phi, **rest)


def both_ways(given, phi, weights):
    """The outputs and the gradients by everything, by name."""
    given = {key: one.detach().clone().requires_grad_() for key, one in given.items()}
    everything = given | dict(phi.named_parameters())
    outputs = scanned(given, phi)
    gradients = torch.autograd.grad(outputs, list(everything.values()), weights)
    return {"outputs": outputs} | dict(zip(everything, gradients, strict=True))


def slots_of(given, slots):
    return {key: one[:, slots] if key == "inputs" else one[slots] for key, one in given.items()}


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-11), (torch.float32, 1e-4)])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", NAMES)
def test_equals_the_scan_written_with_torch(name, form, shape, dtype, rtol, monkeypatch):
    compare(name, form, shape, dtype, rtol, monkeypatch)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", NAMES)
def test_a_step_of_more_rows_than_are_multiplied_at_once(name, form, monkeypatch):
    # in float32 one of so many numbers may lie on the other side of a kink
    compare(name, form, (3, 1, 600, 70), torch.float64, 1e-11, monkeypatch)


def compare(name, form, shape, dtype, rtol, monkeypatch):
    given, weights = drawn(shape, dtype, form)
    phi = nonlinearity(name, range(shape[1]), shape[3], dtype)
    ours = both_ways(given, phi, weights)
    monkeypatch.setattr(leaky, "serves", lambda states: False)
    plain = both_ways(given, phi, weights)
    if sum(shape) > 20:  # so that it is known that two programs were compared
        assert any(not torch.equal(ours[key], plain[key]) for key in plain)
    for key, expected in plain.items():
        # a sum over steps and rows is as exact as its largest parts
        atol = rtol * max(1.0, expected.abs().max().item())
        torch.testing.assert_close(ours[key], expected, rtol=rtol, atol=atol, msg=key)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", NAMES)
def test_gradcheck(name, form):
    given, _ = drawn((3, 2, 3, 3), torch.float64, form)
    phi = nonlinearity(name, range(2), 3, torch.float64)

    def scan(*tensors):
        return scanned(dict(zip(given, tensors, strict=True)), phi)

    leaves = [one.requires_grad_() for one in given.values()]
    assert torch.autograd.gradcheck(scan, leaves, fast_mode=True)


@pytest.mark.parametrize("wanted", [("gain",), ("linear", "initial"), ("recurrent",), ("inputs",)])
def test_gradients_that_nobody_wants_do_not_change_the_others(wanted):
    given, weights = drawn((5, 2, 7, 21), torch.float32)
    phi = nonlinearity("tanh", range(2), 21, torch.float32)
    everything = both_ways(given, phi, weights)
    few = {key: one.requires_grad_(key in wanted) for key, one in given.items()}
    found = torch.autograd.grad(scanned(few, phi), [few[key] for key in wanted], weights)
    for key, one in zip(wanted, found, strict=True):
        assert torch.equal(one, everything[key]), key


@pytest.mark.parametrize("form", [(), BOTH])
@pytest.mark.parametrize("name", ["modrelu", "tanh"])
def test_bits_do_not_depend_on_the_number_of_threads(name, form):
    before = torch.get_num_threads()
    try:
        for shape in ((4, 1, 43, 37), (12, 3, 29, 16), (4, 2, 9, 64)):
            given, weights = drawn(shape, torch.float32, form)
            phi = nonlinearity(name, range(shape[1]), shape[3], torch.float32)
            found = []
            for threads in (1, 2, 3):
                torch.set_num_threads(threads)
                found.append(both_ways(given, phi, weights))
            for other in found[1:]:
                for key, one in found[0].items():
                    assert torch.equal(one, other[key]), key
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", [(5, 4, 7, 21), (5, 4, 29, 64), (1, 4, 3, 5)])
@pytest.mark.parametrize("name", NAMES)
def test_a_slot_has_the_same_bits_alone_and_in_a_pack(name, shape, form):
    given, weights = drawn(shape, torch.float32, form)

    def run(slots):
        phi = nonlinearity(name, slots, shape[3], torch.float32)
        return both_ways(slots_of(given, slots), phi, weights[:, slots])

    together = run([0, 1, 2, 3])
    for slots in ([0], [1], [2], [3], [3, 1]):
        alone = run(slots)
        for key, one in alone.items():
            axis = 1 if key in ("outputs", "inputs") else 0
            for place, p in enumerate(slots):
                assert torch.equal(one.select(axis, place), together[key].select(axis, p)), key


@pytest.mark.parametrize("name", NAMES)
def test_nan_in_one_slot_leaves_the_neighbours_alone(name):
    shape = (5, 3, 13, 21)
    given, weights = drawn(shape, torch.float32)
    phi = nonlinearity(name, range(3), 21, torch.float32)
    clean = both_ways(given, phi, weights)
    given["inputs"][2, 1, 0, 0] = torch.nan
    dirty = both_ways(given, phi, weights)
    assert dirty["outputs"][2:, 1, 0].isnan().any()
    assert torch.equal(clean["outputs"][:2], dirty["outputs"][:2])
    assert torch.equal(clean["outputs"][:, 1, 1:], dirty["outputs"][:, 1, 1:])
    for key, one in clean.items():
        axis = 1 if key in ("outputs", "inputs") else 0
        for p in (0, 2):
            assert torch.equal(one.select(axis, p), dirty[key].select(axis, p)), key


def test_bfloat16_factors_are_left_to_torch():
    states = torch.zeros(1, 2, 1, 3)
    leak = leaky.Leak(torch.ones(1), None, None)
    phi = nonlinearity("tanh", [0], 3, torch.float32)
    assert leaky.compiled_leaky(phi, states, "bfloat16", leak) is None
    assert leaky.compiled_leaky(phi, states, "float32", leak) is not None
