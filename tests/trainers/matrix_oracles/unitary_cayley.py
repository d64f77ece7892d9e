"""W = (I + A)^-1 (I - A) D, A skew-Hermitian, D = diag(exp(i theta)) (arXiv:1811.04142)."""

import torch

CASES = [
    {},
    {
        "skew_init": "henaff",
        "learning_rate_ratio": 1.0,
        "phase_learning_rate_ratio": 1.0,
        "phase_optimizer": "adam",
        "recurrent_optimizer": "rmsprop",
    },
]
TOLERANCE = 1e-5


def matrix(p, settings, hidden_size):
    n = hidden_size
    A = torch.zeros(n, n, dtype=torch.complex128)
    used = 0
    for i in range(n):
        for j in range(i, n):
            A = plus(A, i, j, 1j * p["symmetric"][used])
            A = plus(A, j, i, 1j * p["symmetric"][used]) if i != j else A
            used += 1
    rows, columns = torch.triu_indices(n, n, 1)
    for i, j, entry in zip(rows.tolist(), columns.tolist(), p["skew.upper"], strict=True):
        A = plus(plus(A, i, j, entry + 0j), j, i, -entry + 0j)
    identity = torch.eye(n, dtype=A.dtype)
    W = torch.linalg.inv(identity + A) @ (identity - A) @ torch.diag(torch.exp(1j * p["theta"]))
    return torch.cat([torch.cat([W.real, -W.imag], 1), torch.cat([W.imag, W.real], 1)])


def plus(A, i, j, entry):
    at = torch.tensor(i), torch.tensor(j)
    return A.index_put(at, entry, accumulate=True)


def deviation(W):
    return torch.linalg.matrix_norm(W.mT @ W - torch.eye(W.shape[-1], dtype=W.dtype))
