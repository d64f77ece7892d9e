"""W = H_n(u_n) ... H_{n-m+1}(u_{n-m+1}), one reflection after the other (arXiv:1612.00188)."""

import torch

HIDDEN_SIZE = 18
CASES = [{}, {"reflections": 3}, {"reflections": None}]
TOLERANCE = 2e-5


def matrix(p, settings, hidden_size):
    n = hidden_size
    m = n if settings.reflections is None else settings.reflections
    W, entries = torch.eye(n, dtype=torch.float64), p["reflections.entries"]
    for k in range(n, n - m, -1):
        u, entries = entries[:k], entries[k:]
        H = torch.eye(n, dtype=torch.float64)
        if k == 1:
            H[-1, -1] = u[0]
        else:
            u = torch.cat([torch.zeros(n - k, dtype=torch.float64), u])
            H = H - 2 * torch.outer(u, u) / (u @ u)
        W = W @ H
    assert entries.numel() == 0
    return W


def deviation(W):
    return torch.linalg.matrix_norm(W.mT @ W - torch.eye(W.shape[-1], dtype=W.dtype))
