"""LEM (arXiv:2110.04744)."""

import torch

CASES = [{}, {"dt": 0.9}]
PUBLISHED = [
    (1, {"hidden_size": 128}, 10, 68_362),  # "68k", sequential MNIST
    (6, {"hidden_size": 32}, 5, 5_285),  # "5.3k", EigenWorms
]


def outputs(p, x, settings):
    n = settings.hidden_size
    dt = torch.tensor(settings.dt, dtype=torch.float32).double()
    W1, W2, Wz = p["recurrent_weight"].chunk(3)
    V1, V2, Vz, Vy = p["input_weight"].chunk(4)
    b1, b2, bz, by = (p["input_bias"] + p["recurrent_bias"]).chunk(4)

    def sigmoid(a):
        return 1 / (1 + torch.exp(-a))

    y = [torch.zeros(n, dtype=x.dtype) for _ in range(x.shape[1])]
    z = list(y)
    seen = []
    for t in range(x.shape[0]):
        for k in range(x.shape[1]):
            d1 = dt * sigmoid(W1 @ y[k] + V1 @ x[t, k] + b1)
            d2 = dt * sigmoid(W2 @ y[k] + V2 @ x[t, k] + b2)
            z[k] = (1 - d2) * z[k] + d2 * torch.tanh(Wz @ y[k] + Vz @ x[t, k] + bz)
            inner = p["inner_weight"] @ z[k]
            y[k] = (1 - d1) * y[k] + d1 * torch.tanh(inner + Vy @ x[t, k] + by)
        seen.append(torch.stack(y))
    return torch.stack(seen)
