"""The reconstructions of DGRNN (after arXiv:2102.09589)."""

import torch
from oracles import oracle

CASES = [
    {},
    {"variant": "metric", "divergence_penalty": 0.1, "nonlinearity": "relu"},
    {"variant": "fields", "divergence_penalty": 0.1, "initial_state": "learned"},
]
MATRICES = {"diagonal": "diagonal", "metric": "metric", "fields": "operator"}


def recurrent_matrix(p, settings):
    name = f"vector_field_{MATRICES[settings.variant]}"
    module = oracle("matrix", name)
    mine = {key.removeprefix("recurrent."): one for key, one in p.items()}
    return module.matrix(mine, settings, settings.hidden_size)


def outputs(p, x, settings):
    W = recurrent_matrix(p, settings)
    h = p.get("initial", torch.zeros(settings.hidden_size).double()).expand(x.shape[1], -1)
    seen = []
    for step in x:
        z = h @ W.T + step @ p["input_weight"].T
        if settings.nonlinearity.name == "relu":
            h = z * (z > 0)
        else:
            h = torch.sign(z) * torch.relu(torch.abs(z) + p["nonlinearity.bias"])
        seen.append(h)
    return torch.stack(seen)
