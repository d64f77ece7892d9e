import pytest
import torch

from longhaul_trainers.catalogue import CELLS
from longhaul_trainers.errors import SettingError
from longhaul_trainers.initialisation import haar_unitary
from longhaul_trainers.matrices.kronecker import KroneckerMatrix, KroneckerSettings
from longhaul_trainers.settings import parse_component


def generators(pack):
    return [torch.Generator().manual_seed(seed) for seed in range(pack)]


@pytest.mark.parametrize("complex_valued", [True, False])
@pytest.mark.parametrize(("factor_size", "hidden_size"), [(2, 16), (3, 18), (5, 3), (2, 1)])
def test_it_starts_unitary_and_without_penalty(factor_size, hidden_size, complex_valued):
    slot = KroneckerSettings(factor_size=factor_size, complex_valued=complex_valued)
    built = KroneckerMatrix(hidden_size, [slot] * 2, generators(2))
    for W in built.matrix().detach():
        torch.testing.assert_close(W.T @ W, torch.eye(len(W)), atol=2e-6, rtol=0)
    assert built.penalty().abs().max() < 1e-10


def test_the_penalty_holds_the_factors_near_the_unitary_ones():
    built = KroneckerMatrix(8, [KroneckerSettings(unitary_penalty=1.0)], generators(1))
    with torch.no_grad():
        for factor in built.factors:
            factor.mul_(1.5)
    before = built.penalty().item()
    for _ in range(300):
        built.zero_grad()
        built.penalty().sum().backward()
        with torch.no_grad():
            for factor in built.factors:
                factor.sub_(0.01 * factor.grad)
    assert before > 1
    assert built.penalty().item() < 1e-4


@pytest.mark.parametrize(
    ("factor_size", "hidden_size", "sizes"),
    [(2, 128, [2] * 7), (16, 512, [16, 16, 2]), (3, 54, [3, 3, 3, 2]), (8, 5, [5]), (4, 4, [4])],
)
def test_factor_sizes(factor_size, hidden_size, sizes):
    assert KroneckerSettings(factor_size=factor_size).factor_sizes(hidden_size) == sizes


def test_factors_of_two_rows_have_eight_logarithms_of_parameters():
    assert KroneckerMatrix.parameter_count(128, KroneckerSettings()) == 8 * 7
    real = KroneckerSettings(complex_valued=False)
    assert KroneckerMatrix.parameter_count(128, real) == 4 * 7


def test_other_sizes_are_refused():
    message = r"cell\.hidden_size: expected 2\^k r with r < 2 \(factor_size\), found 190"
    with pytest.raises(SettingError, match=message):
        parse_component(CELLS, {"name": "kru", "hidden_size": 190}, "cell")


def test_haar_has_no_preferred_phase():
    generator = torch.Generator().manual_seed(0)
    corners = torch.stack([haar_unitary(3, generator)[0, 0] for _ in range(600)])
    assert abs(corners.mean()) < 4 * (1 / 3 / 600) ** 0.5
    W = haar_unitary(5, generator)
    torch.testing.assert_close(W.mH @ W, torch.eye(5, dtype=W.dtype))
