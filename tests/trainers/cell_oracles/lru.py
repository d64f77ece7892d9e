"""LRU (arXiv:2303.06349)."""

import stack_oracle
import torch

CASES = [
    {},
    {"mode": "bare", "layers": 1, "state_size": 5, "r_min": 0.5, "r_max": 0.99, "max_phase": 0.3},
]


def layer(p, x, settings, depth):
    size = settings.state_size or (settings.hidden_size + 1) // 2
    eigenvalue = torch.exp(torch.complex(-torch.exp(p["nu"]), torch.exp(p["theta"])))
    B = torch.complex(p["input_weight"][:size], p["input_weight"][size:])
    C = torch.complex(p["output_weight"][:, :size], p["output_weight"][:, size:])
    D = p["feedthrough.weight"]
    h, seen = torch.zeros(x.shape[1], size, dtype=B.dtype), []
    for xt in x:
        h = eigenvalue * h + torch.exp(p["gamma"]) * (xt.to(B.dtype) @ B.T)
        direct = D * xt if settings.mode == "block" else xt @ D.T
        seen.append((h @ C.T).real + direct)
    return torch.stack(seen)


outputs = stack_oracle.stacked(layer)
