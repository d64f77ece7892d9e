"""The simple recurrent network."""

import torch

CASES = [
    {},
    {"nonlinearity": "relu", "recurrent_init": "chain", "recurrent_gain": 0.9},
    {"nonlinearity": "identity", "recurrent_init": "glorot_normal", "initial_state": "learned"},
]


def outputs(p, x, settings):
    phi = {"tanh": torch.tanh, "relu": torch.relu, "identity": lambda z: z}
    apply = phi[settings.nonlinearity.name]
    n = settings.hidden_size
    h = p.get("initial", torch.zeros(n, dtype=x.dtype)).expand(x.shape[1], n)
    seen = []
    for step in x:
        rows = [
            apply(p["recurrent.weight"] @ one + p["input_weight"] @ given + p["bias"])
            for one, given in zip(h, step, strict=True)
        ]
        h = torch.stack(rows)
        seen.append(h)
    return torch.stack(seen)
