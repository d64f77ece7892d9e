"""W = M - M^T - gamma I, M strictly upper triangular (arXiv:1902.09689)."""

import torch

CASES = [{}, {"gamma": 0.3, "sigma_w": 16, "recurrent_optimizer": "adam"}]


def matrix(p, settings, hidden_size):
    n, entries = hidden_size, iter(p["upper"])
    zero = p["upper"].new_zeros(())
    M = [[next(entries) if j > i else zero for j in range(n)] for i in range(n)]
    gamma = torch.tensor(settings.gamma, dtype=torch.float32).double()
    rows = [
        torch.stack([M[i][j] - M[j][i] - (gamma if i == j else 0) for j in range(n)])
        for i in range(n)
    ]
    return torch.stack(rows)


def deviation(W):
    """How far from skew W is beside its diagonal, which is constant."""
    diagonal = W.diagonal()
    skew = W - torch.diag(diagonal)
    return torch.linalg.matrix_norm(skew + skew.mT) + (diagonal - diagonal.mean()).abs().max()


TOLERANCE = 1e-12
