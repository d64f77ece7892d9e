"""IndRNN (arXiv:1803.04831), unit by unit."""

import stack_oracle
import torch

CASES = [
    {},
    {"layers": 1, "norm": "none", "sequence_length": 5, "nonlinearity": "tanh"},
    {"layers": 2, "mode": "block", "norm": "layer", "last_recurrent_init": "bound"},
]


def layer(p, x, settings, depth):
    phi = torch.tanh if settings.nonlinearity.name == "tanh" else torch.relu
    u, seen = p["recurrent_weight"], []
    h = torch.zeros(x.shape[1], settings.hidden_size, dtype=x.dtype)
    for step in x:
        units = [
            phi(h[:, i] * u[i] + step @ p["input_weight"][i] + p["bias"][i]) for i in range(len(u))
        ]
        h = torch.stack(units, -1)
        seen.append(h)
    return torch.stack(seen)


outputs = stack_oracle.stacked(layer)
