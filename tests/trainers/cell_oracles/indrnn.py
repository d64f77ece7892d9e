"""IndRNN (arXiv:1803.04831), unit by unit."""

import importlib.util
from pathlib import Path

import torch

FILE = Path(__file__).parents[1] / "stack_oracle.py"
SPEC = importlib.util.spec_from_file_location("stack_oracle", FILE)
stack_oracle = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(stack_oracle)

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
