"""PReLU, whose slope is trained, and OPLU, which sorts pairs of units."""

import pytest
import torch

from longhaul_trainers.errors import SettingError
from longhaul_trainers.oplu import OPLU, OPLUSettings
from longhaul_trainers.prelu import PReLU, PReLUSettings, SharedPReLU, SharedPReLUSettings
from longhaul_trainers.scans.elman import elman_scan

P, T, B, H = 3, 4, 2, 6


def drawn(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def prelu(kind=PReLU, slopes=(0.25, -0.5, 0.0)):
    settings = SharedPReLUSettings if kind is SharedPReLU else PReLUSettings
    generators = [torch.Generator()] * len(slopes)
    return kind(H, [settings(slope=one) for one in slopes], generators).double()


def oplu():
    return OPLU(H, [OPLUSettings()] * P, [torch.Generator()] * P).double()


@pytest.mark.parametrize("make", [prelu, lambda: prelu(SharedPReLU), oplu])
def test_the_scan_differentiates_them(make):
    """A slope of 0 hides the gradient by phi(z), a negative one the sign of z."""
    phi = make()
    W, z, h = drawn(1, P, H, H) / 3, drawn(2, T, P, B, H), drawn(3, P, B, H)
    given = [one.requires_grad_() for one in (W, z, h)]

    def run(W, z, h, *_):
        return elman_scan(W, z, h, phi)

    assert torch.autograd.gradcheck(run, (*given, *phi.parameters()), fast_mode=False)


def test_slopes_are_of_each_unit_or_shared():
    z = -torch.ones(2, 1, H, dtype=torch.float64)
    assert prelu(slopes=(0.5, 2.0))(z).squeeze().tolist() == [[-0.5] * H, [-2.0] * H]
    own, shared = prelu(slopes=(0.7,)), prelu(SharedPReLU, slopes=(0.7,))
    assert (own.slope.shape, shared.slope.shape) == ((1, H), (1, 1))
    assert (PReLU.parameter_count(H), SharedPReLU.parameter_count(H)) == (H, 1)
    own(z[:1]).sum().backward()
    shared(z[:1]).sum().backward()
    assert own.slope.grad.tolist() == [[-1.0] * H]
    assert shared.slope.grad.item() == -H


def test_a_slope_of_one_is_no_nonlinearity():
    z = drawn(1, 1, 5, H)
    assert torch.equal(prelu(slopes=(1.0,))(z), z)


def test_oplu_sorts_adjacent_pairs_and_keeps_norms():
    z = torch.tensor([[[1.0, 2.0, 3.0, -1.0, 5.0, 5.0]]], dtype=torch.float64)
    phi = OPLU(H, [OPLUSettings()], [torch.Generator()])
    assert phi(z).squeeze().tolist() == [2.0, 1.0, 3.0, -1.0, 5.0, 5.0]
    rows = drawn(4, P, 7, H).requires_grad_()
    outputs = oplu()(rows)
    weights = drawn(5, P, 7, H)
    (gradient,) = torch.autograd.grad(outputs, rows, weights)
    torch.testing.assert_close(outputs.norm(dim=-1), rows.norm(dim=-1))
    torch.testing.assert_close(gradient.norm(dim=-1), weights.norm(dim=-1))
    assert (outputs[..., ::2] >= outputs[..., 1::2]).all()


def test_oplu_in_place_works_on_views_whose_slots_are_apart():
    whole = drawn(6, P, T, B, H)
    expected, view = oplu()(whole[:, 1]), whole[:, 1]
    oplu().in_place()(view)
    assert torch.equal(whole[:, 1], expected)
    assert torch.equal(whole[:, 2], drawn(6, P, T, B, H)[:, 2])


def test_oplu_refuses_an_odd_number_of_units():
    with pytest.raises(SettingError, match="pairs of units, found 5"):
        OPLU(5, [OPLUSettings()], [torch.Generator()])


@pytest.mark.parametrize("kind", [PReLU, SharedPReLU])
def test_a_slope_has_the_same_gradient_alone_and_in_a_pack(kind):
    slopes = (0.25, -0.5, 0.1)
    W, z, h = drawn(1, P, H, H) / 3, drawn(2, 9, P, 5, H), drawn(3, P, 5, H)
    together = prelu(kind, slopes).float()
    elman_scan(W.float(), z.float(), h.float(), together).square().sum().backward()
    for p in range(P):
        alone, mine = prelu(kind, slopes[p : p + 1]).float(), slice(p, p + 1)
        scanned = elman_scan(W[mine].float(), z[:, mine].float(), h[mine].float(), alone)
        scanned.square().sum().backward()
        assert torch.equal(alone.slope.grad[0], together.slope.grad[p])
