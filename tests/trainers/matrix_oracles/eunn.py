"""A product of 2 by 2 rotations, each a matrix of its own (arXiv:1612.05231)."""

import torch

CASES = [
    {},
    {"style": "fft", "complex_valued": True},
    {"style": "fft", "complex_valued": False, "learning_rate_ratio": 0.1},
    {"layers": 8, "complex_valued": False},
]
HIDDEN_SIZE = 8
TOLERANCE = 2e-5


def layers(settings, n):
    if settings.style == "fft":
        return [
            [(i, i + d) for i in range(n) if i // d % 2 == 0]
            for d in (2**k for k in reversed(range(n.bit_length() - 1)))
        ]
    return [[(i, i + 1) for i in range(layer % 2, n - 1, 2)] for layer in range(settings.layers)]


def matrix(p, settings, hidden_size):
    n = hidden_size
    W = torch.eye(n, dtype=torch.complex128)
    pairs = [pair for layer in layers(settings, n) for pair in layer]
    for k, (i, j) in enumerate(pairs):
        cos, sin = p["theta"][k].cos(), p["theta"][k].sin()
        rotation = torch.stack([cos, -sin, sin, cos]).view(2, 2).to(W.dtype)
        if settings.complex_valued:
            phase = torch.exp(1j * p["phi"][k])
            rotation = rotation @ torch.diag(torch.stack([torch.ones_like(phase), phase]))
        units = torch.tensor([i, j])
        F = torch.eye(n, dtype=W.dtype)
        W = F.index_put((units[:, None], units[None]), rotation) @ W
    if not settings.complex_valued:
        return W.real
    W = torch.diag(torch.exp(1j * p["omega"])) @ W
    return torch.cat([torch.cat([W.real, -W.imag], 1), torch.cat([W.imag, W.real], 1)])


def deviation(W):
    error = torch.linalg.matrix_norm(W.mT @ W - torch.eye(W.shape[-1], dtype=W.dtype))
    return max(error, abs(torch.linalg.det(W) - 1))
