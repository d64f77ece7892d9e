"""minGRU (arXiv:2410.01201)."""

import stack_oracle
import torch

CASES = [
    {},
    {"mode": "bare", "layers": 1, "candidate": "linear", "expansion": 1.5, "keep_bias": 2.0},
    {"prenorm": False, "gate": "gelu_glu"},
]


def layer(p, x, settings, depth):
    n = round(settings.expansion * settings.hidden_size)
    h, seen = torch.zeros(x.shape[1], n, dtype=x.dtype), []
    for t in range(x.shape[0]):
        products = x[t] @ p["input_weight"].T + p["bias"]
        z, v = torch.sigmoid(products[:, :n]), products[:, n:]
        if settings.candidate == "positive":
            v = torch.where(v >= 0, v + 0.5, torch.sigmoid(v))
        h = (1 - z) * h + z * v
        seen.append(h @ p["output_weight"].T if settings.expansion != 1 else h)
    return torch.stack(seen)


outputs = stack_oracle.stacked(layer)
