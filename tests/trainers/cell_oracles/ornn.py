"""oRNN (arXiv:1612.00188): each reflection applied to h, no matrix formed."""

import torch

HIDDEN_SIZE = 17
CASES = [
    {},
    {"reflections": None, "nonlinearity": "tanh", "initial_state": "zero"},
]
PUBLISHED = [
    # pixel MNIST, n = 128, m = 16: about 3600 parameters; 3602 with a learned h0
    (1, {"hidden_size": 128, "reflections": 16}, 10, 3602),
]
TOLERANCE = 1e-4


def reflected(h, entries, count):
    n, parts = len(h), []
    for k in range(n, n - count, -1):
        parts.append(entries[:k])
        entries = entries[k:]
    for u in reversed(parts):  # the last factor acts first
        k = len(u)
        if k == 1:
            h = torch.cat([h[:-1], u * h[-1:]])
        else:
            tail = h[n - k :] - 2 * u * (u @ h[n - k :]) / (u @ u)
            h = torch.cat([h[: n - k], tail])
    return h


def outputs(p, x, settings):
    n = settings.hidden_size
    count = settings.reflections or n
    entries = p["recurrent.reflections.entries"]
    slope = p["nonlinearity.slope"].item() if "nonlinearity.slope" in p else None
    h = [p.get("initial", torch.zeros(n, dtype=x.dtype)) for _ in range(x.shape[1])]
    seen = []
    for t in range(x.shape[0]):
        for b in range(x.shape[1]):
            z = reflected(h[b], entries, count) + p["input_weight"] @ x[t, b] + p["bias"]
            if settings.nonlinearity.name == "tanh":
                h[b] = torch.tanh(z)
            else:
                assert abs(slope - 0.1) < 1e-8  # the rounding of float32
                h[b] = torch.where(z < 0, slope * z, z)
        seen.append(torch.stack(h))
    return torch.stack(seen)


def deviation(cell):
    W = cell.recurrent.matrix().detach().double()
    return torch.linalg.matrix_norm(W.mT @ W - torch.eye(W.shape[-1], dtype=W.dtype))
