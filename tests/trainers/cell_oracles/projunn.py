"""projUNN (arXiv:2203.05483)."""

import torch

CASES = [
    {},
    {"variant": "direct", "rank": 2, "recurrent_init": "identity", "nonlinearity": "modrelu"},
]
TOLERANCE = 2e-6


def outputs(p, x, settings):
    h = torch.zeros(x.shape[1], settings.hidden_size, dtype=x.dtype)
    seen = []
    for step in x:
        z = h @ p["recurrent.weight"].T + step @ p["input_weight"].T + p["bias"]
        if settings.nonlinearity.name == "relu":
            h = torch.clamp(z, min=0)
        else:
            h = torch.sign(z) * torch.relu(z.abs() + p["nonlinearity.bias"])
        seen.append(h)
    return torch.stack(seen)


def deviation(cell):
    W = cell.recurrent.matrix().detach().double()
    return torch.linalg.matrix_norm(W.mT @ W - torch.eye(W.shape[-1], dtype=W.dtype))
