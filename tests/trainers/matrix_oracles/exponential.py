"""W = exp(A), A skew-symmetric (arXiv:1901.08428)."""

import torch

CASES = [{}, {"skew_init": "cayley", "learning_rate_ratio": 1.0}]
TOLERANCE = 1e-5


def matrix(p, settings, hidden_size):
    rows, columns = torch.triu_indices(hidden_size, hidden_size, 1)
    X = p["skew.upper"].new_zeros(hidden_size, hidden_size)
    X = X.index_put((rows, columns), p["skew.upper"])
    values, vectors = torch.linalg.eigh(-1j * (X - X.T))
    return (vectors @ torch.diag(torch.exp(1j * values)) @ vectors.mH).real


def deviation(W):
    error = torch.linalg.matrix_norm(W.mT @ W - torch.eye(W.shape[-1], dtype=W.dtype))
    return max(error, abs(torch.linalg.det(W) - 1))
