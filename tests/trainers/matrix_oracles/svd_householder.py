"""W = U S V^T by explicit reflections (arXiv:1803.09327)."""

import torch

HIDDEN_SIZE = 8
CASES = [{}, {"reflections": 8, "margin": 0.3}]
TOLERANCE = 0.3 + 1e-5


def product(entries, count, n):
    W = torch.eye(n, dtype=entries.dtype)
    for k in range(n, n - count, -1):
        u, entries = entries[:k], entries[k:]
        H = torch.eye(n, dtype=u.dtype)
        if k == 1:
            H[-1, -1] = u[0]
        else:
            H[-k:, -k:] -= 2 * torch.outer(u, u) / (u @ u)
        W = W @ H
    return W


def matrix(p, settings, hidden_size):
    n = hidden_size
    count = settings.reflections or n // 4
    U = product(p["left.entries"], count, n)
    V = product(p["right.entries"], count, n)
    return U @ torch.diag(2 * p["margin"] * (torch.sigmoid(p["spectrum"]) - 0.5) + 1) @ V.T


def deviation(W):
    return (torch.linalg.svdvals(W) - 1).abs().max()
