import math

import pytest
import scipy.linalg
import torch

from longhaul_trainers.catalogue import CELLS, OPTIMIZERS
from longhaul_trainers.matrices.dynamic_trivialization import (
    DynamicTrivializationMatrix,
    DynamicTrivializationSettings,
    polar_factor,
)
from longhaul_trainers.matrices.exponential import ExponentialMatrix
from longhaul_trainers.matrices.skew import SkewSettings
from longhaul_trainers.settings import parse_component
from longhaul_trainers.training.optimizers import PackOptimizer
from longhaul_trainers.training.pack import Pack
from longhaul_trainers.training.settings import TrialConfig


def generators(pack):
    return [torch.Generator().manual_seed(seed) for seed in range(pack)]


def build(size=8, pack=2, **settings):
    slots = [DynamicTrivializationSettings(**settings)] * pack
    return DynamicTrivializationMatrix(size, slots, generators(pack))


def moved(built, scale=0.3):
    with torch.no_grad():
        for p, upper in enumerate(built.skew.upper):
            drawn = torch.Generator().manual_seed(p)
            upper += scale * torch.randn(upper.shape, generator=drawn).to(upper.dtype)
    return built


@pytest.mark.parametrize("init", ["henaff", "cayley", "random"])
def test_starts_as_exprnn_does_with_the_base_there(init):
    built = build(skew_init=init)
    slots = [SkewSettings(skew_init=init)] * 2
    expected = ExponentialMatrix(8, slots, generators(2)).matrix()
    assert torch.equal(built.base, expected.detach())
    torch.testing.assert_close(built.matrix(), expected)
    assert built.skew.upper.count_nonzero() == 0


@pytest.mark.parametrize("project_every", [1, None])
def test_w_is_continuous_across_a_change_of_base(project_every):
    built = moved(build(rebase_every=1, project_every=project_every))
    before = built.matrix().detach()
    built.after_step()
    assert (built.matrix() - before).abs().max() < 1e-6
    assert built.skew.upper.count_nonzero() == 0
    assert built.rebases.tolist() == [1, 1]


def test_the_base_changes_every_k_steps_and_is_projected_every_m_changes():
    built = build(rebase_every=3, project_every=2)
    seen = []
    for step in range(1, 13):
        moved(built, 0.01)
        with torch.no_grad():
            built.base *= 1.01  # as rounding would spoil it, only faster
        before = built.base.clone()
        built.after_step()
        error = (built.base.mT @ built.base - torch.eye(8)).abs().max().item()
        seen.append((not torch.equal(built.base, before), error < 1e-5))
        assert built.steps.tolist() == [step] * 2
        assert built.rebases.tolist() == [step // 3] * 2
    assert seen == [(step % 3 == 0, step % 6 == 0) for step in range(1, 13)]


def test_without_k_the_base_never_changes():
    built = build(rebase_every=None)
    base = built.base.clone()
    for _ in range(300):
        moved(built, 1e-3)
        built.after_step()
    assert torch.equal(built.base, base)


def test_at_the_base_the_step_is_riemannian_gradient_descent():
    """W^T grad W made skew is the gradient; the map's derivative at A = 0 is the identity."""
    built = moved(build(pack=1, rebase_every=1).double())
    built.after_step()
    W = built.matrix()
    weights = torch.randn(8, 8, generator=generators(1)[0], dtype=torch.float64)
    (W[0] * weights).sum().backward()
    pulled = W[0].detach().T @ weights
    rows, columns = torch.triu_indices(8, 8, offset=1)
    expected = (pulled - pulled.T)[rows, columns]
    torch.testing.assert_close(built.skew.upper.grad[0], expected)


def test_the_optimisers_averages_are_kept_over_a_change_of_base():
    built = build(rebase_every=2)
    kind = OPTIMIZERS.get("rmsprop")
    optimizer = PackOptimizer(built.parameter_groups(), [kind.settings_type()] * 2)
    for _ in range(2):
        built.skew.upper.grad = torch.ones_like(built.skew.upper)
        optimizer.step(torch.ones(2, dtype=torch.bool), torch.ones(2))
        before = {key: one.clone() for key, one in optimizer.tensors().items()}
        built.after_step()
    assert built.rebases.tolist() == [1, 1]
    assert all(torch.equal(one, before[key]) for key, one in optimizer.tensors().items())
    assert before["0.0.square"].min() > 0


def test_a_slot_that_is_not_finite_is_left_alone():
    built = build(pack=3, rebase_every=1, project_every=1)
    clean = build(pack=3, rebase_every=1, project_every=1)
    with torch.no_grad():
        built.skew.upper[1] = math.inf
    for one in (built, clean):
        one.after_step()
    assert built.base[1].isnan().all()
    assert torch.equal(built.base[::2], clean.base[::2])


def test_polar_factor_equals_scipy():
    W = torch.randn(7, 7, generator=generators(1)[0])
    expected, _ = scipy.linalg.polar(W.double().numpy())
    torch.testing.assert_close(polar_factor(W), torch.from_numpy(expected).float())
    broken = torch.full((3, 3), math.nan)
    assert polar_factor(broken) is broken


def test_orthogonality_over_many_changes_of_base():
    """What M is for: each change multiplies two rounded matrices."""

    def error(project_every):
        built = build(size=32, pack=1, rebase_every=1, project_every=project_every)
        for _ in range(400):
            moved(built, 0.05)
            built.after_step()
        return built.diagnostics()["orthogonality_error"].item()

    assert error(30) < 2e-5
    assert error(None) > 2 * error(30)


def trial():
    return TrialConfig.parse(
        {
            "task": {"name": "copying", "delay": 5},
            "cell": {"name": "dtriv", "hidden_size": 8, "rebase_every": 3, "project_every": 2},
            "training": {
                "steps": 20,
                "batch_size": 4,
                "evaluate_every": 5,
                "validation_size": 8,
                "test_size": 8,
                "optimizer": {"name": "adam", "learning_rate": 0.01},
            },
            "seed": 1,
        }
    )


def test_a_checkpoint_between_two_changes_of_base_goes_on_bit_for_bit():
    whole, first = Pack([trial()]), Pack([trial()])
    list(whole.train())
    list(first.train(5))
    second = Pack([trial()])
    second.restore(first.checkpoint())
    assert second.model.cell.recurrent.steps.tolist() == [5]
    assert second.model.cell.recurrent.rebases.tolist() == [1]
    list(second.train())
    for key, one in whole.model.state_dict().items():
        assert torch.equal(one, second.model.state_dict()[key]), key


def test_k_and_m_are_structure():
    cell = parse_component(CELLS, {"name": "dtriv", "rebase_every": None, "project_every": 100})
    assert cell.rebase_every is None
    with pytest.raises(Exception, match="rebase_every"):
        parse_component(CELLS, {"name": "dtriv", "rebase_every": 0})
