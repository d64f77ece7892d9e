"""FastGRNN (arXiv:1901.02358)."""

import torch

CASES = [{}, {"input_rank": 2, "recurrent_rank": 3, "zeta_init": 0, "nu_init": -1}]


def weight(p, name):
    if f"{name}.weight" in p:
        return p[f"{name}.weight"]
    return p[f"{name}.left"] @ p[f"{name}.right"]


def sigmoid(a):
    return 1 / (1 + torch.exp(-a))


def outputs(p, x, settings):
    W, U = weight(p, "input_weight"), weight(p, "recurrent_weight")
    h = [torch.zeros(settings.hidden_size, dtype=x.dtype) for _ in range(x.shape[1])]
    seen = []
    for t in range(x.shape[0]):
        for k in range(x.shape[1]):
            z = sigmoid(U @ h[k] + W @ x[t, k] + p["gate_bias"])
            c = torch.tanh(U @ h[k] + W @ x[t, k] + p["candidate_bias"])
            h[k] = z * h[k] + (sigmoid(p["zeta"]) * (1 - z) + sigmoid(p["nu"])) * c
        seen.append(torch.stack(h))
    return torch.stack(seen)
