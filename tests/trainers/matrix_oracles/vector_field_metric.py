"""L^-T exp(S) L^T."""

import torch

CASES = [
    {},
    {"divergence_penalty": 0.3, "skew_init": "random"},
]


def factor(p, n):
    rows, columns = torch.tril_indices(n, n, -1)
    L = torch.diag(torch.exp(p["log_diagonal"]))
    return L + torch.zeros(n, n, dtype=torch.float64).index_put((rows, columns), p["lower"])


def matrix(p, settings, hidden_size):
    n = hidden_size
    rows, columns = torch.triu_indices(n, n, 1)
    X = torch.zeros(n, n, dtype=torch.float64).index_put((rows, columns), p["skew.upper"])
    L = factor(p, n)
    # the exponential of a generator that is skew in M = L L^T
    return torch.linalg.matrix_exp(torch.linalg.inv(L).T @ (X - X.T) @ L.T)


def penalty(p, settings, hidden_size):
    L = factor(p, hidden_size)
    below = torch.tril(L, -1)
    squares = (below**2).sum() + (torch.log(torch.diagonal(L)) ** 2).sum()
    return torch.tensor(settings.divergence_penalty).double() * squares
