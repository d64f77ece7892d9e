"""UnICORNN (arXiv:2103.05487), bare or between norm and gate."""

import torch

CASES = [
    {},
    {"layers": 3, "dt": 0.4, "last_dt": 0.1, "alpha": 0},
    {"layers": 1, "mode": "block", "norm": "none", "gate": "none", "alpha": 20},
]


def sigmoid(a):
    return 1 / (1 + torch.exp(-a))


def layer(p, x, dt, alpha):
    d, alpha = torch.tensor([dt, alpha], dtype=torch.float32).double()
    d = d * sigmoid(p["time_scale"])
    y = [torch.zeros_like(d) for _ in range(x.shape[1])]
    z = list(y)
    seen = []
    for t in range(x.shape[0]):
        for k in range(x.shape[1]):
            force = torch.tanh(
                p["recurrent_weight"] * y[k] + p["input_weight"] @ x[t, k] + p["bias"]
            )
            z[k] = z[k] - d * (force + alpha * y[k])
            y[k] = y[k] + d * z[k]
        seen.append(torch.stack(y))
    return torch.stack(seen)


def outputs(p, x, settings):
    last = settings.layers - 1
    if settings.mode == "block":
        x = x @ p["encoder_weight"].T + p["encoder_bias"]
    below = x
    for depth in range(settings.layers):
        dt = settings.dt
        if settings.last_dt is not None:
            dt = settings.dt ** (1 - depth / last) * settings.last_dt ** (depth / last)
        mine = {key.split(".", 2)[2]: one for key, one in p.items() if f"layers.{depth}." in key}
        above = layer(mine, below, dt, settings.alpha)
        below = below + above if settings.mode == "block" else above
    return below
