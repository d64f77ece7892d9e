import math

import pytest
import torch

from longhaul_trainers.catalogue import CELLS
from longhaul_trainers.errors import SettingError
from longhaul_trainers.matrices.householder import HouseholderMatrix, HouseholderSettings
from longhaul_trainers.matrices.reflections import reflection_product
from longhaul_trainers.matrices.svd_householder import (
    SVDHouseholderMatrix,
    SVDHouseholderSettings,
)
from longhaul_trainers.settings import parse_component


def generators(pack):
    return [torch.Generator().manual_seed(seed) for seed in range(pack)]


def matrix(size, count, pack=2):
    slots = [HouseholderSettings(reflections=count)] * pack
    return HouseholderMatrix(size, slots, generators(pack))


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("count", [1, 2, 3, 6, 7])
def test_trap_determinant_is_the_parity_of_the_number_of_reflections(count):
    W = matrix(8, count, pack=3).double().matrix()
    torch.testing.assert_close(torch.linalg.det(W), torch.full((3,), (-1.0) ** count).double())


def test_with_all_reflections_both_determinants_are_reached():
    W = matrix(4, None, pack=20).matrix().detach()
    assert {round(float(one)) for one in torch.linalg.det(W)} == {-1, 1}


def test_one_unit_has_no_vector_but_a_sign():
    W = matrix(1, None, pack=20).matrix().detach()
    assert {float(one) for one in W} == {-1, 1}
    assert HouseholderMatrix.parameter_count(1, HouseholderSettings(reflections=None)) == 1


def test_the_last_sign_changes_only_where_a_step_takes_it_over_zero():
    built = matrix(3, None, pack=1)
    last = built.reflections.entries[0, -1:]
    sign = last.item()
    with torch.no_grad():
        last.sub_(0.4 * sign)
    built.after_step()
    assert last.item() == sign
    with torch.no_grad():
        last.sub_(1.4 * sign)
    built.after_step()
    assert last.item() == -sign


@pytest.mark.parametrize("count", [1, 4, 6])
@pytest.mark.parametrize("unit", [True, False])
def test_trap_gradient_equals_the_published_equations(count, unit):
    """Equations 19 and 20, for C = W h: no differentiation on that side."""
    U = normal(7, count).tril()
    if unit:
        U = U / U.norm(dim=0)
    h, g = normal(7, 1, seed=1), normal(7, 1, seed=2)
    T = (U.T @ U).triu(1) + torch.diag((U.T @ U).diagonal()) / 2
    reduced = torch.linalg.inv(T) @ U.T @ h
    adjoint = torch.linalg.inv(T).T @ U.T @ g
    B = torch.ones(count, count, dtype=U.dtype).triu(1) + torch.eye(count, dtype=U.dtype) / 2
    by_vectors = U @ (reduced @ adjoint.T * B.T + adjoint @ reduced.T * B)
    by_vectors = by_vectors - g @ reduced.T - h @ adjoint.T
    by_state = g - U @ adjoint

    vectors, state = U.T.clone().requires_grad_(), h.clone().requires_grad_()
    (reflection_product(vectors) @ state * g).sum().backward()
    torch.testing.assert_close(vectors.grad.T, by_vectors)
    torch.testing.assert_close(state.grad, by_state)


def test_lengths_change_nothing_and_receive_no_gradient():
    vectors = normal(3, 6).triu().requires_grad_()
    lengths = torch.tensor([[0.1], [3.0], [40.0]], dtype=torch.float64)
    torch.testing.assert_close(reflection_product(vectors), reflection_product(lengths * vectors))
    (reflection_product(vectors) * normal(6, 6, seed=3)).sum().backward()
    along = (vectors.grad * vectors).sum(1)
    torch.testing.assert_close(along, torch.zeros_like(along))


def test_columns_are_unit_vectors_after_a_step():
    built = matrix(6, 4)
    with torch.no_grad():
        built.reflections.entries.mul_(3).add_(1)
    built.after_step()
    torch.testing.assert_close(built.reflections.vectors().norm(dim=2), torch.ones(2, 4))


def test_a_zero_column_becomes_a_unit_vector_and_a_broken_one_stays_broken():
    built = matrix(5, 2, pack=3)
    with torch.no_grad():
        built.reflections.entries[0, :5] = 0
        built.reflections.entries[1, 7] = math.nan
    expected = built.reflections.entries[2].clone()
    built.after_step()
    zero, broken, other = built.reflections.vectors()
    assert zero[0].tolist() == [1, 0, 0, 0, 0]
    assert zero.isfinite().all()
    assert broken[0].isfinite().all()
    assert broken[1, 1:].isnan().all()
    torch.testing.assert_close(other.norm(dim=1), torch.ones(2))
    torch.testing.assert_close(built.reflections.entries[2], expected)


def test_a_zero_vector_is_no_reflection():
    vectors = normal(3, 5).triu()
    vectors[1] = 0
    torch.testing.assert_close(reflection_product(vectors), reflection_product(vectors[[0, 2]]))


def test_more_reflections_than_units_are_refused():
    with pytest.raises(SettingError, match="reflections: found 9 reflections of 8 hidden units"):
        parse_component(CELLS, {"name": "ornn", "hidden_size": 8, "reflections": 9})
    with pytest.raises(SettingError, match="expected at most as many, or null"):
        matrix(8, 9)
    assert parse_component(CELLS, {"name": "ornn", "hidden_size": 8, "reflections": None})


def test_the_decomposition_starts_orthogonal_whatever_its_margin():
    slots = [SVDHouseholderSettings(reflections=6, margin=margin) for margin in (0.0, 0.01, 1.0)]
    for W in SVDHouseholderMatrix(6, slots, generators(3)).matrix().detach():
        torch.testing.assert_close(W.T @ W, torch.eye(6), atol=2e-6, rtol=0)


def test_singular_values_reach_their_margin_and_no_further():
    built = SVDHouseholderMatrix(4, [SVDHouseholderSettings(margin=0.2)] * 2, generators(2))
    with torch.no_grad():
        built.spectrum[0] = 100
        built.spectrum[1] = -100
    found = torch.linalg.svdvals(built.matrix().detach())
    torch.testing.assert_close(found, torch.tensor([[1.2], [0.8]]).expand(2, 4))


@pytest.mark.parametrize(("size", "count"), [(1, None), (5, 1), (16, 16), (33, 20), (70, 70)])
def test_in_float32_on_a_cpu_values_and_gradients_are_those_of_float64(size, count):
    ours, exact = matrix(size, count, pack=3), matrix(size, count, pack=3).double()
    with torch.no_grad():
        lengths = torch.tensor([[0.3], [1.0], [7.0]])
        ours.reflections.entries *= lengths
        if size > 5:
            ours.reflections.entries[1, : size + 3] = 0  # the first vector and a part of the next
        exact.reflections.entries.copy_(ours.reflections.entries)
    weights = normal(3, size, size, seed=4)
    W, expected = ours.matrix(), exact.matrix()
    assert (W - expected).abs().max() <= 2e-5
    (found,) = torch.autograd.grad(W, ours.reflections.entries, weights.float())
    (wanted,) = torch.autograd.grad(expected, exact.reflections.entries, weights)
    assert torch.linalg.vector_norm(found - wanted) <= 2e-5 * torch.linalg.vector_norm(wanted)
    ours.after_step()
    exact.after_step()
    torch.testing.assert_close(ours.reflections.entries.double(), exact.reflections.entries)


@pytest.mark.parametrize(("size", "count"), [(33, 20), (70, 70)])
def test_bits_do_not_depend_on_the_neighbours(size, count):
    packed = matrix(size, count, pack=3)
    weights = normal(3, size, size).float()

    def found(built, slots):
        W = built.matrix()
        return W, torch.autograd.grad(W, built.reflections.entries, weights[slots])[0]

    together = found(packed, slice(0, 3))
    alone = matrix(size, count, pack=1)
    with torch.no_grad():
        packed.reflections.entries[0] = math.nan
        alone.reflections.entries.copy_(packed.reflections.entries[1:2])
    for one, other, again in zip(
        found(alone, slice(1, 2)), together, found(packed, slice(0, 3)), strict=True
    ):
        assert torch.equal(one[0], other[1])
        assert torch.equal(again[1:], other[1:])
    packed.after_step()
    alone.after_step()
    assert torch.equal(packed.reflections.entries[1], alone.reflections.entries[0])
