"""W moves every unit on by one (arXiv:2007.07324)."""

import torch

CASES = [{}]
TOLERANCE = 1e-9


def matrix(p, settings, hidden_size):
    W = torch.zeros(hidden_size, hidden_size, dtype=torch.float64)
    for i in range(hidden_size):
        W[(i + 1) % hidden_size, i] = 1
    return W


def deviation(W):
    return torch.linalg.matrix_norm(W.mT @ W - torch.eye(W.shape[-1], dtype=W.dtype))
