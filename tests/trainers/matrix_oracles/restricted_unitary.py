"""W = D3 R2 F^-1 D2 Pi R1 F D1, each factor a matrix (arXiv:1511.06464, equation 6)."""

import torch

CASES = [{}, {"learning_rate_ratio": 0.1, "recurrent_optimizer": "rmsprop"}]
TOLERANCE = 1e-5


def matrix(p, settings, hidden_size):
    n = hidden_size
    k = torch.arange(n, dtype=torch.float64)
    F = torch.exp(-2j * torch.pi * k[:, None] * k / n) / n**0.5
    D1, D2, D3 = (torch.diag(torch.exp(1j * theta)) for theta in p["phases"])
    R1, R2 = (reflection(re + 1j * im) for re, im in p["reflections"])
    Pi = torch.eye(n, dtype=F.dtype)[p["permutation"]]
    W = D3 @ R2 @ F.conj().T @ D2 @ Pi @ R1 @ F @ D1
    return torch.cat([torch.cat([W.real, -W.imag], 1), torch.cat([W.imag, W.real], 1)])


def reflection(v):
    outer = v[:, None] * v.conj()
    return torch.eye(len(v), dtype=v.dtype) - 2 * outer / (v.abs() ** 2).sum()


def deviation(W):
    return torch.linalg.matrix_norm(W.mT @ W - torch.eye(W.shape[-1], dtype=W.dtype))
