"""W = U S V^T (arXiv:1702.00071, equations 8 and 10)."""

import torch

CASES = [
    {},
    {"margin": None, "recurrent_init": "glorot_normal", "spectrum_penalty": 0.1},
    {
        "margin": 0.0,
        "learning_rate_ratio": 1.0,
        "recurrent_optimizer": "sgd",
        "rectified": False,
        "composite_decay": 0.2,
    },
]


def singular_values(p, settings):
    values = []
    for one in p["spectrum"]:
        if settings.margin is not None:
            sigmoid = 1 / (1 + torch.exp(-one))
            one = 2 * settings.margin * (sigmoid - 0.5) + 1
        values.append(one if one > 0 or not settings.rectified else 0 * one)
    return torch.stack(values)


def matrix(p, settings, hidden_size):
    return p["left"] @ torch.diag(singular_values(p, settings)) @ p["right"].T


def penalty(p, settings, hidden_size):
    W, s = matrix(p, settings, hidden_size), singular_values(p, settings)
    prior = sum((one - 1) ** 2 for one in s)
    # |W|^2 of the whole product is the sum of s^2 where the bases are orthogonal
    assert W.shape == (hidden_size, hidden_size)
    return settings.spectrum_penalty * prior + settings.composite_decay * (s**2).sum()
