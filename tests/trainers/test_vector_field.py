import math

import numpy as np
import pytest
import scipy.linalg
import torch

from longhaul_trainers.catalogue import CELLS
from longhaul_trainers.cells.description import describe_cell
from longhaul_trainers.errors import SettingError
from longhaul_trainers.matrices.exponential import ExponentialMatrix
from longhaul_trainers.matrices.general_exponential import general_exponential
from longhaul_trainers.matrices.skew import SkewSettings
from longhaul_trainers.matrices.vector_field_diagonal import (
    DiagonalField,
    DiagonalFieldSettings,
)
from longhaul_trainers.matrices.vector_field_metric import MetricField, MetricFieldSettings
from longhaul_trainers.matrices.vector_field_operator import (
    OperatorField,
    OperatorFieldSettings,
)
from longhaul_trainers.settings import parse_component

SIZE = 6
KINDS = {
    "diagonal": (DiagonalField, DiagonalFieldSettings()),
    "metric": (MetricField, MetricFieldSettings()),
    "split": (OperatorField, OperatorFieldSettings()),
    "advective": (OperatorField, OperatorFieldSettings(field_form="advective")),
}


def generators(pack):
    return [torch.Generator().manual_seed(seed) for seed in range(pack)]


def build(name, pack=2, **settings):
    kind, default = KINDS[name]
    return kind(SIZE, [default.with_changes(**settings)] * pack, generators(pack)).double()


def shaken(matrix, scale=0.4, seed=0):
    drawn = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in matrix.parameters():
            noise = torch.randn(parameter.shape, generator=drawn, dtype=torch.float64)
            parameter += scale * noise
    return matrix


def normal(*shape, seed=5):
    drawn = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=drawn, dtype=torch.float64)


def generator_of(W):
    """The real D of W = exp(D) with the smallest angles."""
    return torch.from_numpy(scipy.linalg.logm(W.detach().numpy()).real)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("init", ["henaff", "cayley", "random"])
def test_starts_as_exprnn_does(name, init):
    slots = [SkewSettings(skew_init=init)] * 2
    expected = ExponentialMatrix(SIZE, slots, generators(2)).double().matrix()
    found = build(name, skew_init=init)
    torch.testing.assert_close(found.matrix(), expected, atol=2e-6, rtol=0)
    if name == "split":
        assert found.divergence().abs().max() < 1e-6


@pytest.mark.parametrize("name", ["diagonal", "split"])
def test_determinant_and_singular_values_follow_from_the_divergence(name):
    built = shaken(build(name), 0.2)
    for p, W in enumerate(built.matrix().detach()):
        c = built.expansion[p] if name == "diagonal" else -built.divergence()[p] / 2
        assert c.abs().max() > 0.1
        assert torch.linalg.det(W).item() == pytest.approx(c.sum().exp().item())
        singular = torch.linalg.svdvals(W)
        assert singular.max() <= c.max().exp() * (1 + 1e-9)
        assert singular.min() >= c.min().exp() * (1 - 1e-9)


def test_skew_generator_and_no_divergence_are_one_thing():
    """Both ways, for any learned derivatives and inner product, in the split form."""
    built = shaken(build("split"), 0.3)
    for p, W in enumerate(built.matrix().detach()):
        D = generator_of(W)
        torch.testing.assert_close(D + D.T, -torch.diag(built.divergence()[p]), atol=1e-8, rtol=0)
        assert built.divergence()[p].abs().max() > 0.1
    free_of_divergence(built)
    assert built.divergence().abs().max() < 1e-12
    for W in built.matrix():
        torch.testing.assert_close(W.T @ W, torch.eye(SIZE).double(), atol=1e-10, rtol=0)


def free_of_divergence(built):
    """Changes the first derivative's diagonal, which no skew part feels."""
    with torch.no_grad():
        for p, divergence in enumerate(built.divergence()):
            built.gradient[p, 0] += torch.diag(divergence / built.field[p, 0])


def test_the_diagonal_field_is_orthogonal_exactly_without_divergence():
    built = shaken(build("diagonal"))
    D = generator_of(built.matrix()[0])
    torch.testing.assert_close((D + D.T) / 2, torch.diag(built.expansion[0].detach()))
    with torch.no_grad():
        built.expansion.zero_()
    assert built.diagnostics()["orthogonality_error"].max() < 1e-10


@pytest.mark.parametrize("form", ["split", "advective"])
def test_gradient_and_divergence_are_adjoint_in_the_learned_inner_product(form):
    built = shaken(build(form))
    f = normal(SIZE)
    for p in range(2):
        mass = built.log_mass[p].exp()
        assert mass.max() > 1.2 * mass.min()
        gradients = built.gradient[p] @ f  # (d, H): the components of grad f
        of_fields = (gradients * mass * built.field[p]).sum()
        of_functions = (f * mass * built.divergence()[p]).sum()
        assert of_fields.item() == pytest.approx(-of_functions.item())
        assert abs(of_fields) > 0.01


def test_the_two_forms_are_one_operator_where_the_product_rule_holds():
    """On smooth functions on a fine ring both are the derivative along the field."""
    size = 200
    angles = torch.arange(size, dtype=torch.float64) * 2 * math.pi / size
    shift = torch.eye(size, dtype=torch.float64)
    derivative = (torch.roll(shift, -1, 0) - torch.roll(shift, 1, 0)) * size / (4 * math.pi)
    velocity, f = 1 + 0.5 * angles.cos(), angles.sin()
    exact = velocity * angles.cos()
    found = []
    for form in ("split", "advective"):
        slots = [OperatorFieldSettings(directions=1, field_form=form)]
        built = OperatorField(size, slots, generators(1)).double()
        with torch.no_grad():
            built.field[0, 0] = velocity
            built.gradient[0, 0] = derivative
        found.append(built._generator(*built._slots()[0]) @ f)
        assert (built.divergence()[0] + 0.5 * angles.sin()).abs().max() < 1e-3
    for one in found:
        assert (one - exact).abs().max() < 1e-3


def test_the_advective_form_keeps_only_the_total_without_divergence():
    """What the documentation warns of: no divergence, but W far from orthogonal."""
    built = shaken(build("advective"), 0.3)
    with torch.no_grad():
        built.log_mass.zero_()
    free_of_divergence(built)
    assert built.divergence().abs().max() < 1e-12
    for W in built.matrix():
        total = torch.ones(SIZE, dtype=torch.float64)
        torch.testing.assert_close(total @ W, total)
        assert (W.T @ W - torch.eye(SIZE)).abs().max() > 0.1


def test_the_advective_form_reaches_every_generator():
    built = build("advective", pack=1, directions=1)
    target = normal(SIZE, SIZE)
    with torch.no_grad():
        built.gradient[0, 0] = target / built.field[0, 0].unsqueeze(1)
    torch.testing.assert_close(built.matrix()[0], torch.linalg.matrix_exp(target))


def test_the_metric_is_kept_and_the_eigenvalues_stay_on_the_circle():
    built = shaken(build("metric"))
    for p, W in enumerate(built.matrix().detach()):
        L = built._factors()[p].detach()
        M = L @ L.T
        torch.testing.assert_close(W.T @ M @ W, M)
        assert torch.linalg.eigvals(W).abs().numpy() == pytest.approx(np.ones(SIZE))
        condition = torch.linalg.cond(L)
        singular = torch.linalg.svdvals(W)
        assert 1.1 < singular.max() <= condition * (1 + 1e-9)
        assert singular.min() >= 1 / condition * (1 - 1e-9)


def test_the_margin_bounds_the_singular_values():
    slots = [DiagonalFieldSettings(margin=one) for one in (0.0, 0.1, None)]
    built = shaken(DiagonalField(SIZE, slots, generators(3)).double())
    before = built.expansion.detach().clone()
    built.after_step()
    assert built.expansion[0].count_nonzero() == 0
    assert built.expansion[1].abs().max().item() == pytest.approx(math.log(1.1))
    assert torch.equal(built.expansion[2], before[2])
    found = built.diagnostics()
    assert found["orthogonality_error"][0] < 1e-6
    assert found["singular_value_max"][1] <= 1.1 + 1e-6
    assert found["singular_value_min"][1] >= 1 / 1.1 - 1e-6
    assert found["singular_value_max"][2] > 1.1


@pytest.mark.parametrize("name", ["diagonal", "metric", "split"])
def test_the_penalty_leads_to_the_orthogonal_model(name):
    built = shaken(build(name, pack=1, divergence_penalty=1.0), 0.1)
    first = built.diagnostics()["orthogonality_error"].item()
    optimizer = torch.optim.Adam(built.parameters(), 0.01)
    for _ in range(400):
        optimizer.zero_grad()
        built.penalty().sum().backward()
        optimizer.step()
    assert first > 0.2
    assert built.diagnostics()["orthogonality_error"].item() < 1e-3


def test_the_penalty_is_the_square_of_half_the_divergence():
    built = shaken(build("split", divergence_penalty=0.5))
    expected = 0.5 * (built.divergence() / 2).square().sum(1)
    torch.testing.assert_close(built.penalty(), expected)
    diagonal = shaken(build("diagonal", divergence_penalty=0.5))
    torch.testing.assert_close(diagonal.penalty(), 0.5 * diagonal.expansion.square().sum(1))


@pytest.mark.parametrize("name", ["diagonal", "metric"])
def test_groups_of_a_rotation_and_its_departure(name):
    built = build(name, field_decay=1e-5, field_learning_rate_ratio=0.2)
    recurrent, field = built.parameter_groups()
    assert recurrent.learning_rate_ratio.tolist() == pytest.approx([0.1] * 2)
    assert not recurrent.decay
    assert field.name == "field"
    assert field.learning_rate_ratio.tolist() == pytest.approx([0.2] * 2)
    assert field.weight_decay.tolist() == pytest.approx([1e-5] * 2)


def test_groups_of_the_operator():
    (group,) = build("split", field_decay=1e-5, recurrent_optimizer="adam").parameter_groups()
    assert group.learning_rate_ratio.tolist() == pytest.approx([0.1] * 2)
    assert group.weight_decay.tolist() == pytest.approx([1e-5] * 2)
    assert group.optimizer == "adam"


@pytest.mark.parametrize("scale", [0.0, 1e-3, 1.0, 10.0])
@pytest.mark.parametrize("size", [1, 5, 12])
def test_general_exponential_equals_scipy(size, scale):
    A = scale * normal(size, size) / math.sqrt(size)
    expected = scipy.linalg.expm(A.numpy())
    found = general_exponential(A).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-12 * np.abs(expected).max())


def test_general_exponential_of_matrices_far_from_normal():
    nilpotent = torch.tensor([[0.0, 1e6], [0.0, 0.0]], dtype=torch.float64)
    expected = torch.eye(2).double() + nilpotent
    torch.testing.assert_close(general_exponential(nilpotent), expected, rtol=1e-14, atol=0)
    A = torch.triu(30 * normal(5, 5), 1) - torch.diag(torch.arange(5.0).double())
    expected = torch.from_numpy(scipy.linalg.expm(A.numpy()))
    error = torch.linalg.matrix_norm(general_exponential(A) - expected)
    assert error < 1e-11 * torch.linalg.matrix_norm(expected)


def test_general_exponential_gradient_equals_the_library():
    A = normal(8, 8).requires_grad_()
    weights = normal(8, 8, seed=6)
    (ours,) = torch.autograd.grad(general_exponential(A), A, weights)
    (theirs,) = torch.autograd.grad(torch.linalg.matrix_exp(A), A, weights)
    torch.testing.assert_close(ours, theirs)


def test_a_margin_belongs_to_the_diagonal_variant():
    parse_component(CELLS, {"name": "dgrnn_reconstructed", "margin": 0.1})
    with pytest.raises(SettingError, match=r"margin: found 0\.1 with variant metric"):
        parse_component(CELLS, {"name": "dgrnn_reconstructed", "margin": 0.1, "variant": "metric"})


@pytest.mark.parametrize(
    ("variant", "count"),
    [
        ("diagonal", 128 * 127 // 2 + 128),
        ("metric", 128 * 127 // 2 + 128 * 129 // 2),
        ("fields", 3 * 128**2 + 3 * 128 + 128),
    ],
)
def test_variants_have_the_numbers_of_parameters_that_they_say(variant, count):
    slot = parse_component(
        CELLS, {"name": "dgrnn_reconstructed", "variant": variant, "directions": 3}
    )
    assert CELLS.get("dgrnn_reconstructed").parameter_count(10, slot) == count + 1280 + 128


def test_it_is_never_called_dgrnn():
    assert "dgrnn" not in CELLS.names()
    described = describe_cell("dgrnn_reconstructed")
    assert "Ours is" in described.notes.replace("\n", " ")
    assert "not the published model" in CELLS.get("dgrnn_reconstructed").differs
