import math

import numpy as np
import pytest
import scipy.linalg
import torch
from torch.nn.utils.parametrizations import orthogonal

from longhaul_trainers.initialisation import glorot_uniform, haar_orthogonal
from longhaul_trainers.matrices.cayley import CayleyMatrix, CayleySettings
from longhaul_trainers.matrices.exponential import ExponentialMatrix
from longhaul_trainers.matrices.free import FreeMatrix, FreeSettings, draw_recurrent
from longhaul_trainers.matrices.skew import SkewSettings, SkewSymmetric
from longhaul_trainers.matrices.skew_exponential import skew_exponential
from longhaul_trainers.matrices.skew_init import draw_block_angles, draw_skew


def generators(pack):
    return [torch.Generator().manual_seed(seed) for seed in range(pack)]


def random_skew(size, scale=1.0):
    drawn = torch.randn(size, size, generator=generators(1)[0], dtype=torch.float64) * scale
    return drawn - drawn.T


def matrix(kind, size, pack=2, **settings):
    """In float64, away from the initial blocks."""
    settings_type = CayleySettings if kind is CayleyMatrix else SkewSettings
    built = kind(size, [settings_type(**settings)] * pack, generators(pack)).double()
    noise = torch.randn(built.skew.upper.shape, generator=generators(1)[0], dtype=torch.float64)
    with torch.no_grad():
        built.skew.upper.add_(0.3 * noise)
    return built


def library_orthogonal(A, map_name, scale):
    """torch's own orthogonal layer whose skew parameter is scale * A; the layer and its weight."""
    size = A.shape[0]
    layer = torch.nn.Linear(size, size, bias=False).double()
    orthogonal(layer, orthogonal_map=map_name, use_trivialization=False)
    original = layer.parametrizations.weight.original
    with torch.no_grad():
        original.copy_(scale * A.tril())
    return layer, original


@pytest.mark.parametrize("size", [1, 2, 5, 8, 33])
@pytest.mark.parametrize("scale", [0.0, 1e-9, 0.1, 1.0, 30.0])
def test_exponential_equals_scipy(size, scale):
    A = random_skew(size, scale)
    expected = scipy.linalg.expm(A.numpy())
    np.testing.assert_allclose(skew_exponential(A).numpy(), expected, rtol=0, atol=2e-12)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 10.0])
def test_exponential_gradient_equals_the_library(scale):
    A = random_skew(12, scale).requires_grad_()
    weights = random_skew(12).square()
    (ours,) = torch.autograd.grad(skew_exponential(A), A, weights)
    (theirs,) = torch.autograd.grad(torch.linalg.matrix_exp(A), A, weights)
    # of the gradient, the part along skew-symmetric matrices is all that there is to follow
    torch.testing.assert_close(ours, (theirs - theirs.mT) / 2)


def test_exponential_in_float32_is_accurate():
    A = random_skew(64, 0.3)
    difference = skew_exponential(A.float()).double() - skew_exponential(A)
    assert difference.abs().max() < 5e-6


def test_exponential_of_nan_is_nan():
    assert skew_exponential(torch.full((3, 3), math.nan)).isnan().all()


def test_exponential_matrix_equals_the_library_layer():
    built = matrix(ExponentialMatrix, 6)
    W = built.matrix()
    weights = random_skew(6).square()
    (W * weights).sum().backward()
    rows, columns = torch.triu_indices(6, 6, offset=1)
    for p, A in enumerate(built.skew().detach()):
        layer, original = library_orthogonal(A, "matrix_exp", 1.0)
        torch.testing.assert_close(W[p], layer.weight)
        (layer.weight * weights).sum().backward()
        # Theirs keeps the part below the diagonal, the negative of ours.
        theirs = -original.grad.T[rows, columns]
        torch.testing.assert_close(built.skew.upper.grad[p], theirs)


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.5, 1.0])
def test_cayley_equals_the_closed_form_and_the_library_layer(rho):
    built = matrix(CayleyMatrix, 6, rho=rho)
    W = built.matrix()
    weights = random_skew(6).square()
    (W * weights).sum().backward()
    rows, columns = torch.triu_indices(6, 6, offset=1)
    D = np.diag([1.0] * (6 - round(6 * rho)) + [-1.0] * round(6 * rho))
    for p, A in enumerate(built.skew().detach()):
        closed = np.linalg.inv(np.eye(6) + A.numpy()) @ (np.eye(6) - A.numpy()) @ D
        np.testing.assert_allclose(W[p].detach().numpy(), closed, atol=1e-12)
        # torch's map is (I + A/2) (I - A/2)^-1: another sign and a factor of 2.
        layer, original = library_orthogonal(A, "cayley", -2.0)
        theirs = layer.weight @ torch.from_numpy(D)
        torch.testing.assert_close(W[p], theirs)
        (theirs * weights).sum().backward()
        gradient = 2 * original.grad.T[rows, columns]
        torch.testing.assert_close(built.skew.upper.grad[p], gradient)


def test_cayley_signs_belong_to_their_slot():
    slots = [CayleySettings(rho=0.1), CayleySettings(rho=0.5)]
    built = CayleyMatrix(10, slots, generators(2))
    assert built.signs.tolist() == [[1.0] * 9 + [-1.0], [1.0] * 5 + [-1.0] * 5]
    assert "signs" in built.state_dict()


def angles(W):
    """Rotation angles in [0, pi], one of each conjugate pair, sorted."""
    eigenvalues = np.linalg.eigvals(np.asarray(W, dtype=np.float64))
    return np.sort(np.abs(np.angle(eigenvalues)))[::2]


def test_scornn_starts_with_the_angles_it_drew():
    built = CayleyMatrix(40, [CayleySettings(rho=0.0)], generators(1))
    drawn = torch.rand(20, generator=torch.Generator().manual_seed(0)) * (math.pi / 2)
    W = built.matrix()[0].detach()
    np.testing.assert_allclose(angles(W), np.sort(drawn.numpy()), atol=1e-6)


def test_henaff_starts_the_exponential_with_uniform_angles():
    built = ExponentialMatrix(200, [SkewSettings(skew_init="henaff")], generators(1))
    drawn = torch.rand(100, generator=torch.Generator().manual_seed(0)) * 2 * math.pi - math.pi
    found = angles(built.matrix()[0].detach())
    np.testing.assert_allclose(found, np.sort(np.abs(drawn.numpy())), atol=1e-5)
    assert found.mean() == pytest.approx(math.pi / 2, abs=5 * math.pi / math.sqrt(12 * 100))


def test_one_initialiser_is_another_spectrum_under_the_other_map():
    slots = [SkewSettings(skew_init="cayley")]
    slow = angles(ExponentialMatrix(200, slots, generators(1)).matrix()[0].detach())
    assert slow.max() < 1
    assert slow.mean() == pytest.approx(0.441, abs=0.1)
    slots = [CayleySettings(skew_init="henaff", rho=0.0)]
    fast = angles(CayleyMatrix(200, slots, generators(1)).matrix()[0].detach())
    assert fast.max() < 2 * math.atan(math.pi) + 1e-5


def test_skew_init_fills_blocks_only():
    for size in (1, 4, 5):
        generator = torch.Generator().manual_seed(1)
        upper = torch.zeros(size, size)
        rows, columns = torch.triu_indices(size, size, offset=1)
        upper[rows, columns] = draw_skew("henaff", size, generator)
        blocks = draw_block_angles("henaff", size // 2, torch.Generator().manual_seed(1))
        assert upper.diagonal(1)[::2].tolist() == blocks.tolist()
        assert upper.count_nonzero() == size // 2


def test_skew_is_skew_to_the_last_bit_and_minimal():
    skew = SkewSymmetric(7, [SkewSettings()] * 2, generators(2))
    with torch.no_grad():
        skew.upper.normal_()
    A = skew()
    assert torch.equal(A, -A.mT)
    assert skew.upper.shape == (2, 21)
    assert SkewSymmetric.parameter_count(7) == 21
    assert list(skew.state_dict()) == ["upper"]


def test_free_initial_matrices():
    generator = torch.Generator().manual_seed(0)
    glorot = draw_recurrent("glorot", 2.0, 300, generator)
    assert glorot.abs().max() <= 2 * math.sqrt(6 / 600)
    assert glorot.std() == pytest.approx(2 * math.sqrt(2 / 600), rel=0.02)
    scaled = draw_recurrent("orthogonal", 0.5, 50, generator)
    torch.testing.assert_close(scaled.T @ scaled, 0.25 * torch.eye(50), atol=1e-6, rtol=0)
    assert torch.equal(draw_recurrent("identity", 0.1, 3, generator), 0.1 * torch.eye(3))
    assert glorot_uniform(2, 4, generator).shape == (2, 4)


def test_haar_has_no_preferred_sign():
    """Without the sign correction of QR the mean of Q_11 is -0.4, not 0."""
    generator = torch.Generator().manual_seed(0)
    corners = torch.stack([haar_orthogonal(3, generator)[0, 0] for _ in range(600)])
    assert abs(corners.mean()) < 4 * math.sqrt(1 / 3 / 600)


def test_groups():
    slots = [
        SkewSettings(learning_rate_ratio=ratio, recurrent_optimizer="adam") for ratio in (0.1, 0.3)
    ]
    (group,) = ExponentialMatrix(4, slots, generators(2)).parameter_groups()
    assert group.name == "recurrent"
    assert group.optimizer == "adam"
    assert not group.decay
    assert group.learning_rate_ratio.tolist() == pytest.approx([0.1, 0.3])
    free = FreeMatrix(4, [FreeSettings()], generators(1))
    (group,) = free.parameter_groups()
    assert group.decay
    assert group.optimizer is None
    assert group.learning_rate_ratio.tolist() == [1.0]


def test_diagnostics_of_known_matrices():
    nilpotent = torch.tensor([[0.0, 3.0], [0.0, 0.0]])
    broken = torch.full((2, 2), math.inf)
    free = FreeMatrix(2, [FreeSettings()] * 3, generators(3))
    with torch.no_grad():
        free.weight.copy_(torch.stack([2 * torch.eye(2), nilpotent, broken]))
    found = {name: one.tolist() for name, one in free.diagnostics().items()}
    assert found["orthogonality_error"][:2] == pytest.approx([3 * math.sqrt(2), math.sqrt(1 + 64)])
    assert found["spectral_radius"][:2] == pytest.approx([2, 0])
    assert found["singular_value_min"][:2] == pytest.approx([2, 0])
    assert found["singular_value_max"][:2] == pytest.approx([2, 3])
    assert found["departure_from_normality"][:2] == pytest.approx([0, 3])
    assert all(math.isnan(values[2]) for values in found.values())
    assert all(one.dtype == torch.float64 for one in free.diagnostics().values())
