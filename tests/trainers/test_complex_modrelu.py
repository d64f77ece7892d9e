import cmath
import math

import pytest
import torch

from longhaul_trainers.complex_modrelu import ComplexModReLU, ComplexModReLUSettings
from longhaul_trainers.errors import SettingError
from longhaul_trainers.nonlinearities import ModReLU, ModReLUSettings
from longhaul_trainers.scans.elman import elman_scan

P, B, UNITS = 3, 4, 5
SLOTS = [{"epsilon": 1e-5}, {"offset": 0.01, "epsilon": 0.0}, {"offset": 0.0, "epsilon": 0.0}]


def build(*slots, units=UNITS):
    settings = [ComplexModReLUSettings(**slot) for slot in slots]
    generators = [torch.Generator().manual_seed(seed) for seed in range(len(slots))]
    return ComplexModReLU(2 * units, settings, generators).double()


@pytest.fixture
def points():
    drawn = torch.randn(
        P, B, 2 * UNITS, generator=torch.Generator().manual_seed(7), dtype=torch.float64
    )
    drawn[:, 0, 0] = drawn[:, 0, UNITS] = 0.0  # a unit that is exactly 0
    drawn[:, 0, 1], drawn[:, 0, UNITS + 1] = 0.002, -0.003  # one in the dead zone of most biases
    return drawn


def textbook(z, bias, offset=0.0, epsilon=1e-5):
    """One complex number in plain Python."""
    if z == 0:
        return 0j
    modulus, phase = cmath.polar(z)
    shrunk = modulus / (modulus + offset + epsilon)
    return cmath.rect(shrunk * max(modulus + offset + bias, 0.0), phase)


def test_three_forms_equal_the_textbook(points):
    phi = build(*SLOTS)
    inside = points.clone()
    with torch.no_grad():
        phi.in_place()(inside)
    torch.testing.assert_close(inside, phi(points), rtol=1e-12, atol=1e-15)
    for p in range(P):
        for b in range(B):
            for i in range(UNITS):
                z = complex(points[p, b, i], points[p, b, i + UNITS])
                expected = textbook(z, phi.bias[p, i].item(), **({"epsilon": 1e-5} | SLOTS[p]))
                found = complex(inside[p, b, i], inside[p, b, i + UNITS])
                assert found == pytest.approx(expected, abs=1e-8)


def test_pullback_through_the_scan_is_exact(points):
    phi = build(*SLOTS)
    phi.bias.data[:, 0] = -2.0  # a unit that is dead at almost all points
    drawn = torch.Generator().manual_seed(3)
    W = torch.randn(P, 2 * UNITS, 2 * UNITS, generator=drawn, dtype=torch.float64) / 4
    z = torch.randn(4, P, B, 2 * UNITS, generator=drawn, dtype=torch.float64)
    given = [one.requires_grad_() for one in (W, z, points.clone())]

    def run(W, z, h, _):
        return elman_scan(W, z, h, phi)

    assert torch.autograd.gradcheck(run, (*given, phi.bias), fast_mode=True)


def test_forms_agree_where_z_is_zero():
    phi = build(*SLOTS)
    z = torch.zeros(P, 2, 2 * UNITS, dtype=torch.float64, requires_grad=True)
    outputs = phi(z)
    assert (outputs == 0).all()
    (slope,) = torch.autograd.grad(outputs.sum(), z)
    offset, epsilon = phi.offset, phi.epsilon
    expected = ((offset + phi.bias).relu() / (offset + epsilon)).nan_to_num(0, 0, 0)
    torch.testing.assert_close(slope[:, 0].unflatten(-1, (2, -1))[:, 0], expected.detach())
    assert (slope[2] == 0).all()  # c = e = 0
    gradient = torch.ones(P, 2, 2 * UNITS, dtype=torch.float64)
    phi.pullback(z.detach().unsqueeze(2)).step(0, gradient[:, :1])
    torch.testing.assert_close(gradient[:, :1], slope[:, :1])


def test_a_positive_bias_makes_the_slope_at_zero_huge_with_the_published_epsilon():
    phi = build({"bias_init": "constant"})
    z = torch.full((1, 1, 2 * UNITS), 1e-9, dtype=torch.float64)
    assert (phi(z) / z).mean().item() == pytest.approx(1000, rel=0.01)


def test_without_imaginary_parts_and_offsets_it_is_the_real_modrelu(points):
    phi = build(*[{"epsilon": 0.0}] * P)
    settings = [ModReLUSettings()] * P
    generators = [torch.Generator().manual_seed(seed) for seed in range(P)]
    real = ModReLU(UNITS, settings, generators).double()
    assert torch.equal(real.bias, phi.bias)
    z = torch.cat([points[..., :UNITS], torch.zeros_like(points[..., UNITS:])], -1)
    torch.testing.assert_close(phi(z)[..., :UNITS], real(points[..., :UNITS]))
    assert (phi(z)[..., UNITS:] == 0).all()


def test_multiplying_by_a_phase_commutes():
    phi = build({"epsilon": 0.01})
    z = torch.view_as_complex(torch.randn(1, B, UNITS, 2, dtype=torch.float64))
    turned = z * cmath.exp(0.7j)

    def apply(numbers):
        re, im = phi(torch.cat([numbers.real, numbers.imag], -1)).chunk(2, -1)
        return torch.complex(re, im)

    torch.testing.assert_close(apply(turned), apply(z) * cmath.exp(0.7j))


def test_biases_are_counted_and_drawn_once_a_unit():
    phi = build({}, units=1000)
    assert phi.bias.shape == (1, 1000)
    assert ComplexModReLU.parameter_count(2000) == 1000
    assert phi.bias.abs().max() <= 0.01
    assert phi.bias.std().item() == pytest.approx(0.02 / math.sqrt(12), rel=0.1)


def test_an_odd_size_is_refused():
    with pytest.raises(SettingError, match="pairs of real numbers, found 7"):
        ComplexModReLU(7, [ComplexModReLUSettings()], [torch.Generator()])
