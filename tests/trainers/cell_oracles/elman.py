"""h' = phi(W h + V x + b) of any W, each as its own oracle has it, and any phi."""

import torch
from oracles import oracle

CASES = [
    {},
    {
        "matrix": {"name": "exponential", "learning_rate_ratio": 0.5},
        "nonlinearity": "relu",
        "bias": False,
        "input_init": "kaiming_normal",
        "input_gain": 0.5,
    },
    {
        "matrix": {"name": "restricted_unitary"},
        "nonlinearity": {"name": "leaky_relu", "slope": 0.25},
        "initial_state": "learned",
        "input_init": "uniform",
    },
]
HIDDEN_SIZE = 4


def recurrent(p, settings):
    name = settings.matrix.name
    module = oracle("matrix", name)
    own = {key.removeprefix("recurrent."): one for key, one in p.items()}
    return module.matrix(own, settings.matrix, settings.hidden_size)


def outputs(p, x, settings):
    W = recurrent(p, settings)
    slope = {"tanh": None, "relu": 0, "leaky_relu": 0.25}[settings.nonlinearity.name]
    rows = len(W)
    h = p.get("initial", torch.zeros(rows, dtype=x.dtype)).expand(x.shape[1], rows)
    seen = []
    for step in x:
        z = torch.einsum("ij,bj->bi", W, h) + torch.einsum("ij,bj->bi", p["input_weight"], step)
        z = z + p.get("bias", torch.zeros(rows, dtype=x.dtype))
        h = torch.tanh(z) if slope is None else z.clamp(min=0) + slope * z.clamp(max=0)
        seen.append(h)
    return torch.stack(seen)
