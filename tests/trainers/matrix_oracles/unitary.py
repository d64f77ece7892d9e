"""W itself, complex and unitary (arXiv:1611.00035)."""

import torch

CASES = [{}, {"recurrent_optimizer": "rmsprop", "learning_rate_ratio": 0.3}]
TOLERANCE = 4e-6
RATE = 0.03


def matrix(p, settings, hidden_size):
    """Column by column: what W does to a unit's real part, then to its imaginary part."""
    W = torch.complex(p["weight"][0], p["weight"][1])
    columns = [unit * W[:, k] for unit in (1, 1j) for k in range(hidden_size)]
    return torch.stack([torch.cat([one.real, one.imag]) for one in columns], 1)


def deviation(W):
    """Of the unitary matrices in real form, which commute with the multiplication by i."""
    n = len(W) // 2
    identity, zero = torch.eye(n, dtype=W.dtype), torch.zeros(n, n, dtype=W.dtype)
    i = torch.cat([torch.cat([zero, -identity], 1), torch.cat([identity, zero], 1)])
    both = W.mT @ W - torch.eye(2 * n, dtype=W.dtype), W @ i - i @ W
    return max(torch.linalg.matrix_norm(one) for one in both)
