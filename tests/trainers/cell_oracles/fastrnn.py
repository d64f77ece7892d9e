"""FastRNN (arXiv:1901.02358)."""

import torch

CASES = [
    {},
    {"input_rank": 2, "recurrent_rank": 3, "alpha_init": -1, "nonlinearity": "modrelu"},
]


def weight(p, name):
    if f"{name}.weight" in p:
        return p[f"{name}.weight"]
    return p[f"{name}.left"] @ p[f"{name}.right"]


def outputs(p, x, settings):
    W, U = weight(p, "input_weight"), weight(p, "recurrent_weight")
    alpha, beta = 1 / (1 + torch.exp(-p["alpha"])), 1 / (1 + torch.exp(-p["beta"]))
    h = [torch.zeros(settings.hidden_size, dtype=x.dtype) for _ in range(x.shape[1])]
    seen = []
    for t in range(x.shape[0]):
        for k in range(x.shape[1]):
            new = U @ h[k] + W @ x[t, k] + p["bias"]
            if settings.nonlinearity.name == "modrelu":
                new = torch.sign(new) * torch.relu(torch.abs(new) + p["nonlinearity.bias"])
            else:
                new = torch.tanh(new)
            h[k] = beta * h[k] + alpha * new
        seen.append(torch.stack(h))
    return torch.stack(seen)
