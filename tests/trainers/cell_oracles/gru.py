"""The GRU whose reset gate acts after the product, gates in the order r, z, n."""

import torch

CASES = [{}, {"recurrent_init": "glorot"}]


def outputs(p, x, settings):
    n = settings.hidden_size
    U, V, b = (p[key].split(n) for key in ("recurrent_weight", "input_weight", "bias"))
    h = [torch.zeros(n, dtype=x.dtype)] * x.shape[1]
    seen = []
    for step in x:
        for k, given in enumerate(step):
            r = torch.sigmoid(U[0] @ h[k] + V[0] @ given + b[0])
            z = torch.sigmoid(U[1] @ h[k] + V[1] @ given + b[1])
            candidate = V[2] @ given + b[2] + r * (U[2] @ h[k] + p["candidate_bias"])
            h[k] = (1 - z) * torch.tanh(candidate) + z * h[k]
        seen.append(torch.stack(h))
    return torch.stack(seen)
