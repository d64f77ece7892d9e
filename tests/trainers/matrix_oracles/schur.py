"""nnRNN's matrix (arXiv:1905.12080), its real Schur form entry by entry."""

import torch

CASES = [
    {},
    {
        "gamma": "fixed",
        "triangular_mask": "released",
        "skew_init": "random",
        "learning_rate_ratio": 1.0,
    },
]


def schur_form(p, settings, n):
    form = torch.zeros(n, n, dtype=torch.float64)
    entries = list(p["triangle"])
    for i in range(n):
        for j in range(i):
            if settings.triangular_mask == "released" or j // 2 < i // 2:
                form[i, j] = entries.pop(0)
    assert not entries
    for k, theta in enumerate(p["theta"]):
        modulus = p["gamma"][k] if settings.gamma == "learned" else 1
        cos, sin = torch.cos(theta), torch.sin(theta)
        rotation = modulus * torch.stack([torch.stack([cos, -sin]), torch.stack([sin, cos])])
        form[2 * k : 2 * k + 2, 2 * k : 2 * k + 2] += rotation
    return form


def matrix(p, settings, hidden_size):
    n = hidden_size
    rows, columns = torch.triu_indices(n, n, 1)
    X = torch.zeros(n, n, dtype=torch.float64).index_put((rows, columns), p["skew.upper"])
    P = torch.linalg.matrix_exp(X - X.T)
    return P @ schur_form(p, settings, n) @ P.T


def penalty(p, settings, hidden_size):
    if settings.gamma == "fixed":
        return None
    # the settings as the trial's float32 vector has them
    return torch.tensor(settings.delta).double() * ((p["gamma"] - 1) ** 2).sum()
