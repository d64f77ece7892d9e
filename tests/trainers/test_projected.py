"""The orthogonal matrix that moves by updates of low rank, and its cell."""

import pytest
import torch

from longhaul_trainers.catalogue import CELLS, MATRICES
from longhaul_trainers.errors import SettingError
from longhaul_trainers.settings import parse_component
from longhaul_trainers.training.optimizers import PackOptimizer, SGDSettings

N = 9


def matrix(**settings):
    slot = parse_component(MATRICES, {"name": "projected"} | settings)
    return MATRICES.get("projected")(N, [slot], [torch.Generator().manual_seed(0)]).double()


@pytest.mark.parametrize("variant", ["direct", "tangent"])
@pytest.mark.parametrize("low_rank", ["svd", "columns"])
@pytest.mark.parametrize("optimizer", ["rmsprop", None])
@pytest.mark.parametrize("rank", [1, 3])
def test_settings_reach_the_step_which_turns_w_in_2k_dimensions(variant, low_rank, optimizer, rank):
    projected = matrix(variant=variant, low_rank=low_rank, recurrent_optimizer=optimizer, rank=rank)
    before = projected.matrix()[0].detach().clone()
    stepper = PackOptimizer(projected.parameter_groups(), [SGDSettings(learning_rate=1.0)])
    weights = torch.randn(N, N, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (projected.matrix()[0] * weights).sum().backward()
    stepper.step(torch.ones(1, dtype=torch.bool), torch.ones(1))
    rotation = before.T @ projected.matrix()[0].detach()
    moved = torch.linalg.svdvals(rotation - torch.eye(N, dtype=rotation.dtype))
    assert (moved[: 2 * rank] > 1e-4).all()
    assert (moved[2 * rank :] < 1e-7).all()
    assert ("0.0.square" in stepper.tensors()) == (optimizer == "rmsprop")


def test_starts_as_told_and_learns_at_a_32nd_of_the_rate():
    henaff, identity, haar = (
        matrix(recurrent_init=init).matrix()[0].detach()
        for init in ("henaff", "identity", "orthogonal")
    )
    assert torch.equal(identity, torch.eye(N, dtype=torch.float64))
    assert (henaff.count_nonzero(), henaff[-1, -1]) == (2 * (N - 1) + 1, 1)
    assert haar.count_nonzero() == N * N
    (group,) = matrix().parameter_groups()
    assert group.learning_rate_ratio.tolist() == [1 / 32]


def test_a_rank_above_the_number_of_units_is_refused():
    with pytest.raises(SettingError, match="found 10 with 9 hidden units") as caught:
        parse_component(CELLS, {"name": "projunn", "hidden_size": N, "rank": 10}, "cell")
    assert caught.value.path == "cell.rank"
    with pytest.raises(SettingError, match="expected at most as many"):
        matrix(rank=N + 1)
    parse_component(CELLS, {"name": "projunn", "hidden_size": N, "rank": N})
