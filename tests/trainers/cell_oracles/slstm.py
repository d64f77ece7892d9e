"""sLSTM (arXiv:2405.04517), without the stabiliser: c and n are sums of plain exponentials."""

import stack_oracle
import torch

HIDDEN_SIZE = 8
SAME_START = {"layers.0.bias"}  # forget biases by a formula
CASES = [
    {},
    {
        "heads": 2,
        "layers": 2,
        "mode": "block",
        "forget_gate": "exponential",
        "recurrent_init": "uniform",
        "forget_init": "uniform",
        "recurrent_clip": 100.0,
    },
]


def layer(p, x, settings, depth):
    n, width = settings.hidden_size, settings.hidden_size // settings.heads
    R = torch.zeros(4 * n, n, dtype=x.dtype)
    for head, block in enumerate(p["recurrent_weight"]):
        own = slice(head * width, (head + 1) * width)
        for gate in range(4):
            R[gate * n : (gate + 1) * n][own, own] = block[gate * width : (gate + 1) * width]
    h = c = norm = torch.zeros(x.shape[1], n, dtype=x.dtype)
    seen = []
    for xt in x:
        i, f, z, o = (xt @ p["input_weight"].T + h @ R.T + p["bias"]).split(n, 1)
        keep = torch.exp(f) if settings.forget_gate == "exponential" else torch.sigmoid(f)
        c = keep * c + torch.exp(i) * torch.tanh(z)
        norm = keep * norm + torch.exp(i)
        h = torch.sigmoid(o) * c / norm
        seen.append(h)
    return torch.stack(seen)


outputs = stack_oracle.stacked(layer)
