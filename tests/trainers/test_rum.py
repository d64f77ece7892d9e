import pytest
import torch

from longhaul_trainers.catalogue import CELLS
from longhaul_trainers.settings import parse_component

N, M = 8, 3


def build(**values):
    slot = parse_component(CELLS, {"name": "rum", "hidden_size": N, **values})
    return CELLS.get("rum")(M, [slot], [torch.Generator().manual_seed(0)]).double()


def inputs(steps):
    drawn = torch.Generator().manual_seed(1)
    return torch.randn(steps, 1, 2, M, generator=drawn, dtype=torch.float64)


def test_the_memory_stays_orthogonal_with_determinant_one():
    _, (_, R) = build(associative=True)(inputs(200))
    torch.testing.assert_close(R.mT @ R, torch.eye(N, dtype=R.dtype).expand_as(R))
    torch.testing.assert_close(torch.linalg.det(R), torch.ones(1, 2, dtype=R.dtype))
    assert (R[0, 0] - R[0, 1]).norm() > 0.1  # each sequence has its own


def test_one_step_takes_the_direction_of_t_to_that_of_r():
    rum, x = build(associative=True), inputs(1)
    _, (_, R) = rum(x)
    V_r, _, V = rum.input_weight[0].split(N)
    t, r = x[0, 0] @ V.T, x[0, 0] @ V_r.T + rum.bias[0, :N]
    turned = (R[0] @ t.unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(
        turned / t.norm(dim=1, keepdim=True), r / r.norm(dim=1, keepdim=True)
    )


def test_parallel_t_and_r_give_finite_gradients():
    rum = build()
    with torch.no_grad():
        rum.input_weight[0, :N] = 2 * rum.input_weight[0, 2 * N :]
        rum.recurrent_weight.zero_()
        rum.bias.zero_()
    outputs, _ = rum(inputs(5))
    outputs.sum().backward()
    assert all(one.grad.isfinite().all() for one in rum.parameters())


@pytest.mark.parametrize("inputs_size", [3, 20])
def test_kernels_start_with_orthonormal_rows_and_biases_at_one(inputs_size):
    slot = parse_component(CELLS, {"name": "rum", "hidden_size": N})
    rum = CELLS.get("rum")(inputs_size, [slot], [torch.Generator()])
    whole = torch.cat([rum.input_weight[0, : 2 * N], rum.recurrent_weight[0]], 1)
    for kernel in whole.split(N):
        torch.testing.assert_close(kernel @ kernel.T, torch.eye(N))
    V = rum.input_weight[0, 2 * N :]
    gram = V.T @ V if inputs_size < N else V @ V.T
    torch.testing.assert_close(gram, torch.eye(len(gram)))
    assert (rum.bias == 1).all()


def test_eta_is_the_length_of_every_state():
    outputs, _ = build(eta=2.0)(inputs(6))
    torch.testing.assert_close(
        outputs.norm(dim=-1), torch.full((6, 1, 2), 2.0, dtype=outputs.dtype)
    )
