"""Spectral-RNN (arXiv:1803.09327): reflections and singular values applied to h one by one."""

import torch

HIDDEN_SIZE = 8
CASES = [{}]
TOLERANCE = 0.01 + 1e-5


def reflected(h, entries, count, transposed):
    n, parts = len(h), []
    for k in range(n, n - count, -1):
        parts.append(entries[:k])
        entries = entries[k:]
    for u in parts if transposed else reversed(parts):
        tail = h[n - len(u) :]
        h = torch.cat([h[: n - len(u)], tail - 2 * u * (u @ tail) / (u @ u)])
    return h


def outputs(p, x, settings):
    n = settings.hidden_size
    s = 2 * p["recurrent.margin"] * (torch.sigmoid(p["recurrent.spectrum"]) - 0.5) + 1
    h = [torch.zeros(n, dtype=x.dtype)] * x.shape[1]
    seen = []
    for t in range(x.shape[0]):
        for b in range(x.shape[1]):
            turned = s * reflected(h[b], p["recurrent.right.entries"], n // 4, True)
            turned = reflected(turned, p["recurrent.left.entries"], n // 4, False)
            h[b] = torch.relu(turned + p["input_weight"] @ x[t, b] + p["bias"])
        seen.append(torch.stack(h))
    return torch.stack(seen)


def deviation(cell):
    W = cell.recurrent.matrix().detach().double()
    return (torch.linalg.svdvals(W) - 1).abs().max(1).values
