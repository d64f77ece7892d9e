"""W = (I + A)^-1 (I - A) D, A skew-symmetric, D a fixed diagonal of signs (arXiv:1707.09520)."""

import torch

CASES = [{}, {"skew_init": "henaff", "rho": 0.2, "learning_rate_ratio": 1.0}]
TOLERANCE = 1e-5


def matrix(p, settings, hidden_size):
    n = hidden_size
    rows, columns = torch.triu_indices(n, n, 1)
    X = p["skew.upper"].new_zeros(n, n).index_put((rows, columns), p["skew.upper"])
    A, identity = X - X.T, torch.eye(n, dtype=X.dtype)
    negative = round(settings.rho * n)
    D = torch.diag(torch.tensor([1.0] * (n - negative) + [-1.0] * negative, dtype=X.dtype))
    return torch.linalg.inv(identity + A) @ (identity - A) @ D


def deviation(W):
    return torch.linalg.matrix_norm(W.mT @ W - torch.eye(W.shape[-1], dtype=W.dtype))
