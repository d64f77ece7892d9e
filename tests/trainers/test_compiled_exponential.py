"""The compiled exponential of skew-symmetric matrices, and its bits."""

import math

import pytest
import torch

from longhaul_trainers.matrices.skew import SkewSettings, SkewSymmetric
from longhaul_trainers.scans.native import library

# whole vectors and not, one panel of columns and several, rows that threads share
SIZES = [1, 2, 5, 16, 33, 64, 70, 130]


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def skew(size, scale, pack=2):
    """Slots whose matrices have eigenvalues of about that modulus, the second ones the smaller."""
    drawn = torch.Generator().manual_seed(size)
    built = SkewSymmetric(size, [SkewSettings()] * pack, [drawn] * pack)
    with torch.no_grad():
        built.upper.copy_(torch.randn(built.upper.shape, generator=drawn))
        built.upper *= scale / (2 * math.sqrt(size) * torch.arange(1, pack + 1)[:, None])
    return built


def exponential_with_gradient(built):
    result = built.exponential()
    drawn = torch.Generator().manual_seed(1)
    weights = torch.randn(result.shape, generator=drawn).to(result.dtype)
    return result, torch.autograd.grad(result, built.upper, weights)[0]


@pytest.mark.skipif(library.library() is None, reason="needs the compiled scans")
def test_it_is_compiled_here():
    assert "Compiled" in type(skew(4, 1.0).exponential().grad_fn).__name__
    assert "Compiled" not in type(skew(4, 1.0).double().exponential().grad_fn).__name__


@pytest.mark.parametrize("scale", [0.0, 1e-3, 0.9, 4.0, 30.0])
@pytest.mark.parametrize("size", SIZES)
def test_values_and_gradients_are_those_of_the_library(size, scale):
    built = skew(size, scale)
    ours, gradient = exponential_with_gradient(built)
    exact = skew(size, scale).double()
    expected = torch.linalg.matrix_exp(exact())
    weights = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1)).double()
    (wanted,) = torch.autograd.grad(expected, exact.upper, weights)
    rounding = 1e-6 * (1 + scale)
    assert (ours - expected).abs().max() <= rounding
    norm = torch.linalg.vector_norm
    assert (norm(gradient - wanted, dim=1) <= rounding * norm(weights, dim=(1, 2))).all()


@pytest.mark.parametrize("size", SIZES)
def test_of_zero_it_is_the_identity_to_the_last_bit(size):
    assert torch.equal(skew(size, 0.0).exponential(), torch.eye(size).expand(2, -1, -1))


def test_with_more_halvings_than_there_is_room_for_at_first():
    built = skew(6, 1e4)
    with torch.no_grad():
        built.upper[1] *= 1e-3
    W = built.exponential()
    expected = torch.linalg.matrix_exp(built().double())
    torch.testing.assert_close(W[0].double(), expected[0], rtol=0, atol=3e-3)
    torch.testing.assert_close(W[1].double(), expected[1], rtol=0, atol=3e-6)


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e30])
def test_what_is_not_finite_stays_in_its_slot(value):
    built = skew(40, 1.0, pack=3)
    expected, gradient = exponential_with_gradient(built)
    with torch.no_grad():
        built.upper[1, 7] = value
    found, beside = exponential_with_gradient(built)
    assert not found[1].isfinite().all()
    for p in (0, 2):
        assert torch.equal(found[p], expected[p])
        assert torch.equal(beside[p], gradient[p])


@pytest.mark.parametrize("size", [33, 130])
def test_bits_depend_neither_on_threads_nor_on_neighbours(size, threads):
    whole = skew(size, 3.0, pack=3)
    threads(1)
    expected = exponential_with_gradient(whole)
    weights = torch.randn(3, size, size, generator=torch.Generator().manual_seed(1))
    for count in (1, 2, 3):
        threads(count)
        for one, other in zip(exponential_with_gradient(whole), expected, strict=True):
            assert torch.equal(one, other)
        alone = skew(size, 3.0, pack=1)
        with torch.no_grad():
            alone.upper.copy_(whole.upper[2:])
        result = alone.exponential()
        assert torch.equal(result[0], expected[0][2])
        (gradient,) = torch.autograd.grad(result, alone.upper, weights[2:])
        assert torch.equal(gradient[0], expected[1][2])
