"""GORU (arXiv:1706.02761)."""

import torch

CASES = [
    {},
    {
        "matrix": {"name": "cayley", "learning_rate_ratio": 0.1},
        "bias_init": "uniform",
        "reset_bias": 0.5,
        "update_bias_init": "zero",
        "offset": 0.25,
    },
]
HIDDEN_SIZE = 8


def outputs(p, x, settings):
    n = settings.hidden_size
    U = butterflies(p, n) if settings.matrix.name == "eunn" else cayley(p, n)
    W_r, W_g = p["gate_weight"].split(n)
    V_r, V_g, V_c = p["input_weight"].split(n)
    b_r, b_g, b_c = p["bias"].split(n)
    h = [torch.zeros(n, dtype=x.dtype) for _ in range(x.shape[1])]
    seen = []
    for t in range(x.shape[0]):
        for b in range(x.shape[1]):
            r = torch.sigmoid(W_r @ h[b] + V_r @ x[t, b] + b_r)
            g = torch.sigmoid(W_g @ h[b] + V_g @ x[t, b] + b_g)
            z = r * (U @ h[b]) + V_c @ x[t, b]
            c = torch.sign(z) * torch.relu(torch.abs(z) + p["offset"] + b_c)
            h[b] = g * h[b] + (1 - g) * c
        seen.append(torch.stack(h))
    return torch.stack(seen)


def butterflies(p, n):
    U, used = torch.eye(n, dtype=torch.float64), 0
    distance = n // 2
    while distance:
        for i in (i for i in range(n) if i // distance % 2 == 0):
            theta, units = p["recurrent.theta"][used], torch.tensor([i, i + distance])
            block = torch.stack([theta.cos(), -theta.sin(), theta.sin(), theta.cos()]).view(2, 2)
            F = torch.eye(n, dtype=U.dtype).index_put((units[:, None], units[None]), block)
            U, used = F @ U, used + 1
        distance //= 2
    return U


def cayley(p, n):
    rows, columns = torch.triu_indices(n, n, 1)
    X = torch.zeros(n, n, dtype=torch.float64)
    X = X.index_put((rows, columns), p["recurrent.skew.upper"])
    A, identity = X - X.T, torch.eye(n, dtype=X.dtype)
    return torch.linalg.inv(identity + A) @ (identity - A) @ torch.diag(p["recurrent.signs"])
