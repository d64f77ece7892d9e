"""The UR-LSTM (arXiv:1910.09890, section 3): gates f, r, u, o."""

import torch

CASES = [{}, {"mechanism": "u", "recurrent_init": "glorot"}, {"mechanism": "r", "gate_bias": 0.5}]


def outputs(p, x, settings):
    n = settings.hidden_size
    U, V, b = (p[key].split(n) for key in ("recurrent_weight", "input_weight", "bias"))
    a = p["constants"][:n]
    h = [torch.zeros(n, dtype=x.dtype)] * x.shape[1]
    c = list(h)
    seen = []
    for step in x:
        for k, given in enumerate(step):
            z = [U[j] @ h[k] + V[j] @ given + b[j] for j in range(len(U))]
            f = torch.sigmoid(z[0] + a)
            if settings.mechanism == "u":
                g = f
            else:
                r = torch.sigmoid(z[1] - a * (settings.mechanism == "ur"))
                g = r * (1 - (1 - f) ** 2) + (1 - r) * f**2
            c[k] = g * c[k] + (1 - g) * torch.tanh(z[-2])
            h[k] = torch.sigmoid(z[-1]) * torch.tanh(c[k])
        seen.append(torch.stack(h))
    return torch.stack(seen)
