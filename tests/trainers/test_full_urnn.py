"""The unitary matrix of full capacity and its cell."""

from itertools import pairwise

import torch

from longhaul_trainers.catalogue import CELLS, MATRICES
from longhaul_trainers.settings import parse_component
from longhaul_trainers.training.optimizers import PackOptimizer, SGDSettings

N = 5


def matrix(seed=0, size=N, **settings):
    slot = parse_component(MATRICES, {"name": "unitary"} | settings)
    return MATRICES.get("unitary")(size, [slot], [torch.Generator().manual_seed(seed)]).double()


def complex_of(unitary):
    return torch.complex(*unitary.weight[0].detach())


def test_starts_unitary_and_without_preferred_phase():
    """As many angles on either side, in any direction: far from the identity and from real ones."""
    W = complex_of(matrix(size=200))
    torch.testing.assert_close(W.mH @ W, torch.eye(200).to(W.dtype), atol=1e-5, rtol=0)
    angles = torch.linalg.eigvals(W).angle()
    for turn in (1.0, 1j):
        assert (((angles * 1j).exp() * turn).real > 0).sum().item() in range(90, 111)


def test_the_gradient_is_that_of_the_whole_real_form_and_not_of_its_upper_half():
    """The authors' program takes the upper half of the real form's gradient alone."""
    unitary = matrix()
    W = unitary.matrix()
    W.retain_grad()
    weights = torch.randn(W.shape, generator=torch.Generator().manual_seed(3), dtype=W.dtype)
    (W * weights).sum().backward()
    blocks = weights[0].unflatten(0, (2, N)).unflatten(2, (2, N)).movedim(2, 1)
    whole = torch.stack([blocks[0, 0] + blocks[1, 1], blocks[1, 0] - blocks[0, 1]])
    torch.testing.assert_close(unitary.weight.grad[0], whole)
    upper = torch.stack([blocks[0, 0], -blocks[0, 1]])
    direction = torch.nn.functional.cosine_similarity(upper.flatten(), whole.flatten(), 0)
    assert direction < 0.9  # no multiple of it: another direction


def test_a_step_is_downhill_and_keeps_the_real_form_of_a_unitary_matrix():
    for preconditioner in (None, "rmsprop"):
        unitary = matrix(recurrent_optimizer=preconditioner)
        (group,) = unitary.parameter_groups()
        assert group.optimizer == "geodesic"
        optimizer = PackOptimizer([group], [SGDSettings(learning_rate=0.05)])
        target = torch.linalg.matrix_exp(0.3j * torch.diag(torch.arange(N).double())) @ complex_of(
            unitary
        )
        losses = []
        for _ in range(60):
            unitary.zero_grad()
            loss = (torch.complex(*unitary.weight[0]) - target).abs().square().sum()
            loss.backward()
            optimizer.step(torch.ones(1, dtype=torch.bool), torch.ones(1))
            losses.append(loss.item())
            W = complex_of(unitary)
            assert torch.linalg.matrix_norm(W.mH @ W - torch.eye(N).to(W.dtype)) < 1e-12
        assert losses[-1] < 0.05 * losses[0]
        if preconditioner is None:
            assert all(after < before for before, after in pairwise(losses))


def test_the_papers_count_is_that_of_degrees_of_freedom():
    """About 22 thousand for copying with 128 units, readout included."""
    settings = parse_component(CELLS, {"name": "full_urnn", "hidden_size": 128})
    stored = CELLS.get("full_urnn").parameter_count(10, settings) + (2 * 128 + 1) * 9
    assert stored == 38_025
    assert stored - 128**2 == 21_641
