"""Full-capacity uRNN (arXiv:1611.00035), in complex numbers."""

import torch

CASES = [
    {},
    {"recurrent_optimizer": "rmsprop", "initial_state": "zero", "learning_rate_ratio": 0.1},
]
TOLERANCE = 2e-6


def outputs(p, x, settings):
    n = settings.hidden_size
    W = torch.complex(*p["recurrent.weight"])
    V = torch.complex(p["input_weight"][:n], p["input_weight"][n:])
    start = p.get("initial", torch.zeros(2 * n, dtype=x.dtype))
    h = [torch.complex(start[:n], start[n:])] * x.shape[1]
    seen = []
    for t in range(x.shape[0]):
        for b in range(x.shape[1]):
            z = W @ h[b] + V @ x[t, b].to(V.dtype)
            bias = p["nonlinearity.bias"]
            h[b] = z / (z.abs() + 1e-5) * torch.relu(z.abs() + bias)
        seen.append(torch.stack([torch.cat([one.real, one.imag]) for one in h]))
    return torch.stack(seen)


def deviation(cell):
    W = torch.complex(*cell.recurrent.weight.detach().double().unbind(1))
    return torch.linalg.matrix_norm(W.mH @ W - torch.eye(W.shape[-1], dtype=W.dtype))
