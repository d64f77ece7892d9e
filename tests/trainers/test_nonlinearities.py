import math

import pytest
import torch

from longhaul_trainers.catalogue import NONLINEARITIES
from longhaul_trainers.nonlinearities import ModReLU, ModReLUSettings
from longhaul_trainers.settings import parse_component

P, B, H = 3, 4, 10


def build(*slots, hidden_size=H):
    settings = [parse_component(NONLINEARITIES, slot) for slot in slots]
    generators = [torch.Generator().manual_seed(seed) for seed in range(len(slots))]
    return NONLINEARITIES.get(settings[0].name)(hidden_size, settings, generators).double()


REAL = [name for name in NONLINEARITIES.names() if name not in ("complex_modrelu", "oplu")]
"""Those of each number alone."""


def textbook(name, z, slope=0.01, bias=0.0, offset=0.0):
    """One number in plain Python."""
    if name == "tanh":
        return math.tanh(z)
    if name == "relu":
        return z if z > 0 else 0.0
    if name == "identity":
        return z
    if name == "leaky_relu":
        return z if z > 0 else slope * z
    if name in ("prelu", "shared_prelu"):
        return z if z > 0 else 0.25 * z
    sign = (z > 0) - (z < 0)
    return sign * max(abs(z) + offset + bias, 0.0)


def pulled_back(phi, z, outputs, weight):
    """The gradients by z and by the parameters, each row of the batch taken for one step."""
    kept = (z if phi.keeps_inputs else outputs).detach().unsqueeze(2)
    pullback, gradient = phi.pullback(kept), weight.clone()
    for index in reversed(range(gradient.shape[1])):
        pullback.step(index, gradient[:, index : index + 1])
    return gradient, pullback.parameter_gradients(gradient)


@pytest.fixture
def points():
    drawn = torch.randn(P, B, H, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    drawn[:, 0, :3] = torch.tensor([0.0, 0.004, -0.004])  # the dead zone and its border
    return drawn


@pytest.mark.parametrize("name", REAL)
def test_three_forms_equal_the_textbook(name, points):
    phi = build(*[{"name": name}] * P)
    bias = phi.bias if name == "modrelu" else torch.zeros(P, H)
    expected = torch.tensor(
        [
            [
                [textbook(name, points[p, b, h].item(), bias=bias[p, h].item()) for h in range(H)]
                for b in range(B)
            ]
            for p in range(P)
        ],
        dtype=torch.float64,
    )
    inside = points.clone()
    with torch.no_grad():
        phi.in_place()(inside)
    torch.testing.assert_close(phi(points), expected, rtol=0, atol=1e-9)
    torch.testing.assert_close(inside, phi(points), rtol=0, atol=0)


@pytest.mark.parametrize("name", NONLINEARITIES.names())
def test_pullback_and_parameter_gradients_equal_autograd(name, points):
    phi = build(*[{"name": name}] * P)
    z = points.clone().requires_grad_()
    outputs = phi(z)
    weight = torch.randn(outputs.shape, dtype=torch.float64)
    parameters = list(phi.parameters())
    by_z, *by_parameters = torch.autograd.grad(outputs, [z, *parameters], weight)
    ours, gradients = pulled_back(phi, z, outputs, weight)
    torch.testing.assert_close(ours, by_z)
    assert len(gradients) == len(parameters)
    for gradient, expected in zip(gradients, by_parameters, strict=True):
        torch.testing.assert_close(gradient, expected)


def test_parameter_count_is_the_number_of_parameters():
    for name in NONLINEARITIES.names():
        phi = build({"name": name})
        assert sum(p.numel() for p in phi.parameters()) == type(phi).parameter_count(H)


def test_slope_and_offset_belong_to_their_slot(points):
    leaky = build({"name": "leaky_relu", "slope": 0.5}, {"name": "leaky_relu", "slope": 0.25})
    assert leaky(torch.full((2, 1, H), -1.0)).squeeze().tolist() == [[-0.5] * H, [-0.25] * H]
    shifted = build(
        {"name": "modrelu", "offset": 0.5, "bias_init": "zero"},
        {"name": "modrelu", "offset": 0.0, "bias_init": "zero"},
    )
    assert shifted(torch.full((2, 1, H), -1.0)).squeeze().tolist() == [[-1.5] * H, [-1.0] * H]


def test_modrelu_gives_zero_at_zero_whatever_its_bias():
    phi = build({"name": "modrelu", "bias_init": "constant"})
    z = torch.zeros(1, 2, H, dtype=torch.float64, requires_grad=True)
    outputs = phi(z)
    assert (outputs == 0).all()
    (gradient,) = torch.autograd.grad(outputs.sum(), z)
    assert (gradient == 0).all()
    ours, _ = pulled_back(phi, z, outputs, torch.ones_like(z))
    assert (ours == 0).all()


def test_modrelu_initial_biases():
    slots = [ModReLUSettings(bias_init=init) for init in ("uniform", "zero", "constant")]
    generators = [torch.Generator().manual_seed(seed) for seed in range(3)]
    uniform, zero, constant = ModReLU(1000, slots, generators).bias.detach()
    assert uniform.abs().max() <= 0.01
    assert uniform.std() == pytest.approx(0.02 / math.sqrt(12), rel=0.1)
    assert (zero == 0).all()
    assert (constant == torch.tensor(0.01)).all()


@pytest.mark.parametrize("name", NONLINEARITIES.names())
def test_nan_stays_nan(name):
    phi = build({"name": name})
    z = torch.full((1, 2, H), math.nan, dtype=torch.float64)
    with torch.no_grad():
        phi.in_place()(z)
    assert z.isnan().all()
