"""A GRU with the gate of arXiv:1910.09890 in the place of z: gates z, r, s, n."""

import torch

CASES = [{}, {"mechanism": "u"}, {"mechanism": "ur", "refine_bias": "zero"}]


def outputs(p, x, settings):
    n = settings.hidden_size
    U, V, b = (p[key].split(n) for key in ("recurrent_weight", "input_weight", "bias"))
    a = p["constants"][:n]
    h = [torch.zeros(n, dtype=x.dtype)] * x.shape[1]
    seen = []
    for step in x:
        for k, given in enumerate(step):
            z = [U[j] @ h[k] + V[j] @ given + b[j] for j in range(len(U))]
            g = torch.sigmoid(z[0] + a)
            if settings.mechanism == "ur":
                r = torch.sigmoid(z[1] - a * (settings.refine_bias == "opposite"))
                g = (1 - 2 * r) * g**2 + 2 * r * g
            s = torch.sigmoid(z[-2])
            candidate = V[-1] @ given + b[-1] + s * (U[-1] @ h[k] + p["candidate_bias"])
            h[k] = g * h[k] + (1 - g) * torch.tanh(candidate)
        seen.append(torch.stack(h))
    return torch.stack(seen)
