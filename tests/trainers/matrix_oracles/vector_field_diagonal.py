"""exp(S + diag(c))."""

import math

import torch

CASES = [
    {},
    {"margin": 0.05, "divergence_penalty": 0.3, "skew_init": "random"},
]


def matrix(p, settings, hidden_size):
    n = hidden_size
    rows, columns = torch.triu_indices(n, n, 1)
    X = torch.zeros(n, n, dtype=torch.float64).index_put((rows, columns), p["skew.upper"])
    if settings.margin is not None:
        assert p["expansion"].abs().max() <= math.log(1 + settings.margin) + 1e-7
    return torch.linalg.matrix_exp(X - X.T + torch.diag(p["expansion"]))


def penalty(p, settings, hidden_size):
    return torch.tensor(settings.divergence_penalty).double() * (p["expansion"] ** 2).sum()
