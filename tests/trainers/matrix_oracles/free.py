"""W itself is trained."""

import torch

CASES = [
    {},
    {"recurrent_init": "glorot_normal", "recurrent_gain": 0.5, "recurrent_optimizer": "sgd"},
    {"recurrent_init": "chain", "learning_rate_ratio": 0.3, "penalty": "orthogonality"},
]


def matrix(p, settings, hidden_size):
    return p["weight"]


def penalty(p, settings, hidden_size):
    W = p["weight"]
    deviations = [
        (sum(W[k, i] * W[k, j] for k in range(hidden_size)) - float(i == j)) ** 2
        for i in range(hidden_size)
        for j in range(hidden_size)
    ]
    return settings.penalty_weight * torch.stack(deviations).sum()
