"""dtriv's matrix (arXiv:1909.09501)."""

import torch

CASES = [
    {},
    {"rebase_every": 1, "project_every": 2, "skew_init": "random"},
    {"rebase_every": None, "project_every": None, "learning_rate_ratio": 1.0},
]
TOLERANCE = 1e-4


def matrix(p, settings, hidden_size):
    n = hidden_size
    rows, columns = torch.triu_indices(n, n, 1)
    X = torch.zeros(n, n, dtype=torch.float64).index_put((rows, columns), p["skew.upper"])
    return p["base"].detach() @ torch.linalg.matrix_exp(X - X.T)


def deviation(W):
    return torch.linalg.matrix_norm(W.mT @ W - torch.eye(W.shape[-1], dtype=W.dtype))
