"""M^1/2 exp(D) M^-1/2 with D a directional derivative, component by component."""

import torch

CASES = [
    {},
    {
        "field_form": "advective",
        "directions": 1,
        "divergence_penalty": 0.3,
        "skew_init": "random",
    },
    {"directions": 3, "divergence_penalty": 0.3},
]


def divergence(p):
    M = torch.diag(torch.exp(p["log_mass"]))
    parts = [G.T @ M @ y for y, G in zip(p["field"], p["gradient"], strict=True)]
    return -torch.linalg.inv(M) @ sum(parts)


def matrix(p, settings, hidden_size):
    M = torch.diag(torch.exp(p["log_mass"]))
    inverse = torch.linalg.inv(M)
    D = torch.zeros(hidden_size, hidden_size, dtype=torch.float64)
    for y, G in zip(p["field"], p["gradient"], strict=True):
        D = D + torch.diag(y) @ G
    if settings.field_form == "split":
        adjoint = inverse @ D.T @ M
        D = (D - adjoint) / 2 - torch.diag(divergence(p)) / 2
    root = torch.sqrt(M)
    return root @ torch.linalg.matrix_exp(D) @ torch.linalg.inv(root)


def penalty(p, settings, hidden_size):
    factor = torch.tensor(settings.divergence_penalty).double()
    return factor * ((divergence(p) / 2) ** 2).sum()
