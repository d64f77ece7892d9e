"""Spectral margin (arXiv:1702.00071)."""

import torch

CASES = [
    {},
    {"margin": None, "recurrent_init": "identity", "nonlinearity": "oplu"},
    {"margin": 1.0, "nonlinearity": "shared_prelu", "spectrum_penalty": 0.1},
]
TOLERANCE = 2e-6


def activated(z, p, settings):
    name = settings.nonlinearity.name
    if name == "tanh":
        return torch.tanh(z)
    if name == "shared_prelu":
        return torch.clamp(z, min=0) + p["nonlinearity.slope"] * torch.clamp(z, max=0)
    pairs = [torch.sort(z[i : i + 2], descending=True).values for i in range(0, len(z), 2)]
    return torch.cat(pairs)


def outputs(p, x, settings):
    s = p["recurrent.spectrum"]
    if settings.margin is not None:
        s = 2 * settings.margin * (torch.sigmoid(s) - 0.5) + 1
    W = p["recurrent.left"] @ torch.diag(s) @ p["recurrent.right"].T
    h = [p["initial"]] * x.shape[1]
    seen = []
    for t in range(x.shape[0]):
        for b in range(x.shape[1]):
            z = W @ h[b] + p["input_weight"] @ x[t, b] + p["bias"]
            h[b] = activated(z, p, settings)
        seen.append(torch.stack(h))
    return torch.stack(seen)


def deviation(cell):
    """How far the bases are from orthogonal and the singular values outside the margin."""
    found = []
    for p, slot in enumerate(cell.slots):
        errors = []
        for basis in (cell.recurrent.left[p], cell.recurrent.right[p]):
            Q = basis.detach().double()
            errors.append(torch.linalg.matrix_norm(Q.T @ Q - torch.eye(len(Q), dtype=Q.dtype)))
        if slot.margin is not None:
            values = torch.linalg.svdvals(cell.recurrent.matrix()[p].detach().double())
            errors.append(((values - 1).abs() - slot.margin).clamp(min=0).max())
        found.append(torch.stack(errors).max())
    return torch.stack(found)
