"""W itself, real and orthogonal (arXiv:2203.05483)."""

import torch

CASES = [
    {},
    {"variant": "direct", "rank": 3, "recurrent_init": "identity", "learning_rate_ratio": 1.0},
    {"recurrent_optimizer": None, "low_rank": "columns", "recurrent_init": "orthogonal"},
]
TOLERANCE = 2e-6
RATE = 0.3


def matrix(p, settings, hidden_size):
    return p["weight"]


def deviation(W):
    return torch.linalg.matrix_norm(W.mT @ W - torch.eye(W.shape[-1], dtype=W.dtype))
