"""W = beta (M - M^T) + (1 - beta) (M + M^T) - gamma I (arXiv:2006.12070, equation 7)."""

import torch

CASES = [
    {},
    {"beta": 1.0, "gamma": 0.1, "init_std": 6.0, "learning_rate_ratio": 0.5},
    {"beta": 0.0, "gamma": 0.0},
]


def matrix(p, settings, hidden_size):
    M = p["weight"]
    beta, gamma = torch.tensor([settings.beta, settings.gamma], dtype=torch.float32).double()
    rows = []
    for i in range(hidden_size):
        row = []
        for j in range(hidden_size):
            entry = beta * (M[i, j] - M[j, i]) + (1 - beta) * (M[i, j] + M[j, i])
            row.append(entry - gamma if i == j else entry)
        rows.append(torch.stack(row))
    return torch.stack(rows)
