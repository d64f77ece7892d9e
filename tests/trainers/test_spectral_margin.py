"""Singular values within a margin of 1, and bases that move along the orthogonal matrices."""

import math

import numpy as np
import pytest
import torch

from longhaul_trainers.catalogue import CELLS, MATRICES
from longhaul_trainers.errors import SettingError
from longhaul_trainers.matrices.svd_margin import SVDMarginMatrix, SVDMarginSettings
from longhaul_trainers.settings import parse_component
from longhaul_trainers.training.optimizers import PackOptimizer, RMSpropSettings, SGDSettings

H = 8


def build(*slots, size=H):
    settings = [SVDMarginSettings(**slot) for slot in slots]
    drawn = [torch.Generator().manual_seed(seed) for seed in range(len(slots))]
    return SVDMarginMatrix(size, settings, drawn)


def train(matrix, steps, kind=RMSpropSettings, rate=1e-2):
    """Towards a matrix whose singular values are 0.2 ... 3."""
    pack = len(matrix.slots)
    optimizer = PackOptimizer(matrix.parameter_groups(), [kind(learning_rate=rate)] * pack)
    target = torch.diag(torch.linspace(0.2, 3, H)).flip(0)
    for _ in range(steps):
        matrix.zero_grad()
        (matrix.matrix() - target).square().sum().backward()
        optimizer.step(torch.ones(pack, dtype=torch.bool), torch.ones(pack))


@pytest.mark.parametrize("margin", [1e-3, 0.1, 1.0])
def test_singular_values_are_1_at_p_0_and_stay_within_the_margin(margin):
    matrix = build({"margin": margin})
    assert matrix.singular_values()[0].tolist() == [1.0] * H
    with torch.no_grad():
        matrix.spectrum[0, :4] = torch.tensor([-40.0, 40.0, -1.0, 1.0])
    s = matrix.singular_values()[0]
    assert s[:2].tolist() == pytest.approx([1 - margin, 1 + margin], abs=1e-7)
    assert (s[2] + s[3]).item() == pytest.approx(2)
    assert s[3].item() == pytest.approx(1 + 2 * margin * (1 / (1 + math.exp(-1)) - 0.5))


@pytest.mark.parametrize("margin", [1e-3, 0.1, 1.0, 10.0])
def test_the_gradient_by_p_is_scaled_by_2_m_and_the_learning_rate_by_its_inverse(margin):
    matrix = build({"margin": margin, "spectrum_learning_rate_ratio": 3.0})
    matrix.singular_values()[0].sum().backward()
    assert matrix.spectrum.grad[0].tolist() == pytest.approx([2 * margin * 0.25] * H)
    bases, spectrum = matrix.parameter_groups()
    assert spectrum.learning_rate_ratio.tolist() == pytest.approx([3 / (2 * margin)])
    assert bases.learning_rate_ratio.tolist() == pytest.approx([0.01])
    assert bases.optimizer == "geodesic"
    assert not bases.decay
    assert not spectrum.decay


def test_the_spectrum_moves_equally_fast_under_every_margin():
    margins = [1e-3, 0.1, 1.0]
    matrix = build(*[{"margin": margin} for margin in margins])
    train(matrix, 1, rate=1e-6)
    moved = torch.stack([(s.double() - 1).abs().mean() for s in matrix.singular_values()])
    # RMSprop's first step is sqrt(10) times the rate whatever the gradient, and sigmoid'(0) is 1/4
    assert moved.tolist() == pytest.approx([1e-6 * math.sqrt(10) / 4] * 3, rel=0.2)


def test_margin_0_stays_orthogonal_and_margin_null_goes_where_it_wants():
    fixed = {"margin": 0.0, "learning_rate_ratio": 1.0}
    matrix = build(fixed, {"margin": 0.1}, {"margin": None})
    train(matrix, 300)
    found = [torch.linalg.svdvals(W.detach().double()) for W in matrix.matrix()]
    assert (found[0] - 1).abs().max() < 1e-6
    assert matrix.spectrum[0].tolist() == [0.0] * H
    assert (found[1] - 1).abs().max() < 0.1 + 1e-6
    assert (found[1] - 1).abs().max() > 0.05
    assert (found[2] - 1).abs().max() > 0.5
    for basis in (matrix.left, matrix.right):
        Q = basis.detach().double()
        assert torch.linalg.matrix_norm(Q.mT @ Q - torch.eye(H, dtype=Q.dtype)).max() < 2e-6


def test_one_step_of_the_bases_descends_from_w_equal_to_the_identity():
    """There the released program's formula is exact ascent."""
    matrix = build({"margin": None, "recurrent_init": "identity"})
    group = matrix.parameter_groups()[:1]
    optimizer = PackOptimizer(group, [SGDSettings(learning_rate=1e-3)])
    G = torch.randn(H, H, generator=torch.Generator().manual_seed(1))
    (matrix.matrix()[0] * G).sum().backward()
    before = matrix.matrix()[0].detach().double()
    optimizer.step(torch.ones(1, dtype=torch.bool), torch.ones(1))
    change = (G.double() * (matrix.matrix()[0].detach().double() - before)).sum()
    slope = -(torch.linalg.matrix_norm(G - G.T) ** 2)  # half of it for U, half of it for V
    assert change.item() / 1e-5 == pytest.approx(slope.item(), rel=0.02)


def test_the_printed_sum_is_not_orthogonal_and_the_product_is():
    """Equation 9 of the paper has M + Cayley(A)."""
    rng = np.random.default_rng(0)
    M, G = np.linalg.qr(rng.normal(size=(16, 16)))[0], rng.normal(size=(16, 16))
    A, eye = G @ M.T - M @ G.T, np.eye(16)
    transform = np.linalg.solve(eye + 0.05 * A, eye - 0.05 * A)

    def error(one):
        return np.linalg.norm(one.T @ one - eye)

    assert error(M + transform) > 4
    assert error(transform @ M) < 1e-12


def test_initial_matrices():
    slots = [{"margin": None, "recurrent_init": "glorot_normal"}]
    slots += [{"margin": None, "recurrent_init": "identity"}, {"margin": None}, {"margin": 0.5}]
    glorot, identity, free, held = build(*slots, size=200).matrix().detach()
    assert glorot.std().item() == pytest.approx(math.sqrt(2 / 400), rel=0.02)
    assert torch.equal(identity, torch.eye(200))
    for W in (free, held):
        torch.testing.assert_close(W.mT @ W, torch.eye(200), atol=1e-5, rtol=0)
        assert abs(W.trace().item()) < 5  # far from the identity


@pytest.mark.parametrize("init", ["glorot_normal", "identity"])
@pytest.mark.parametrize("catalogue", [MATRICES, CELLS])
def test_an_initial_matrix_that_no_margin_holds_is_refused(init, catalogue):
    name = "svd_margin" if catalogue is MATRICES else "spectral_margin"
    parse_component(catalogue, {"name": name, "margin": None, "recurrent_init": init})
    with pytest.raises(SettingError, match="margin: null beside it") as caught:
        parse_component(catalogue, {"name": name, "margin": 0.1, "recurrent_init": init}, "cell")
    assert caught.value.path == "cell.recurrent_init"


def test_margins_above_1_are_rectified_as_released_unless_told_otherwise():
    values = []
    for rectified in (True, False):
        matrix = build({"margin": 10.0, "rectified": rectified})
        with torch.no_grad():
            matrix.spectrum.fill_(-2.0)
        values.append(matrix.singular_values()[0][0].item())
    assert values[0] == 0
    assert values[1] == pytest.approx(1 + 20 * (1 / (1 + math.exp(2)) - 0.5))


def test_penalties_are_the_prior_of_the_spectrum_and_the_decay_of_the_whole_matrix():
    matrix = build(
        {"spectrum_penalty": 0.3}, {"composite_decay": 0.2, "margin": None}, {"margin": None}
    )
    with torch.no_grad():
        matrix.spectrum.copy_(torch.linspace(0.1, 2, 3 * H).view(3, H))
    s, W = matrix.singular_values(), matrix.matrix()
    expected = [0.3 * (s[0] - 1).square().sum(), 0.2 * W[1].square().sum(), torch.tensor(0.0)]
    torch.testing.assert_close(matrix.penalty(), torch.stack(expected))


def test_the_initial_state_starts_at_0_and_is_learned():
    settings = parse_component(CELLS, {"name": "spectral_margin", "hidden_size": H})
    cell = CELLS.get("spectral_margin")(3, [settings], [torch.Generator()])
    assert cell.initial.tolist() == [[0.0] * H]
    main = next(group for group in cell.parameter_groups() if group.name == "main")
    assert any(one is cell.initial for one in main.parameters)


def test_a_soft_penalty_draws_a_free_matrix_towards_the_orthogonal_ones():
    slots = [{"penalty": "orthogonality", "penalty_weight": weight} for weight in (0.0, 1.0)]
    settings = [
        parse_component(MATRICES, {"name": "free", "recurrent_gain": 1.5} | s) for s in slots
    ]
    free = MATRICES.get("free")(H, settings, [torch.Generator().manual_seed(1)] * 2)
    start = free.matrix()[0].detach().clone()
    optimizer = PackOptimizer(free.parameter_groups(), [SGDSettings(learning_rate=0.02)] * 2)
    for _ in range(200):
        free.zero_grad()
        free.penalty().sum().backward()
        optimizer.step(torch.ones(2, dtype=torch.bool), torch.ones(2))
    assert torch.equal(free.matrix()[0], start)
    assert free.diagnostics()["orthogonality_error"][1] < 1e-3
    assert MATRICES.get("free")(H, settings[:1], [torch.Generator()]).penalty() is not None
    plain = parse_component(MATRICES, "free")
    assert MATRICES.get("free")(H, [plain], [torch.Generator()]).penalty() is None


def test_an_odd_number_of_units_cannot_be_sorted_in_pairs():
    given = {"name": "spectral_margin", "hidden_size": 7}
    parse_component(CELLS, given)
    with pytest.raises(SettingError, match="pairs of units, found 7") as caught:
        parse_component(CELLS, given | {"nonlinearity": "oplu"}, "cell")
    assert caught.value.path == "cell.hidden_size"
