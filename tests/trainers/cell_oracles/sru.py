"""SRU (arXiv:1709.02755), step by step."""

import math

import stack_oracle
import torch

CASES = [
    {},
    {"recurrent_gates": False, "rescale": False, "layers": 1},
    {"mode": "block", "layers": 1, "highway_bias": -1.0},
]


def layer(p, x, settings, depth):
    n = settings.hidden_size
    W, Wf, Wr, *Wx = p["input_weight"].split(n)
    bf, br = p["bias"].split(n)
    vf, vr = p.get("recurrent_weight", torch.zeros(2, n, dtype=x.dtype))
    alpha = math.sqrt(1 + 2 * math.exp(settings.highway_bias)) if settings.rescale else 1.0
    if "scale" in p:
        torch.testing.assert_close(p["scale"].item(), alpha, rtol=1e-6, atol=0)
        alpha = p["scale"].item()  # rounded to float32
    c, seen = torch.zeros(x.shape[1], n, dtype=x.dtype), []
    for step in x:
        f = torch.sigmoid(step @ Wf.T + vf * c + bf)
        r = torch.sigmoid(step @ Wr.T + vr * c + br)
        c = f * c + (1 - f) * (step @ W.T)
        skipped = step @ Wx[0].T if Wx else alpha * step
        seen.append(r * c + (1 - r) * skipped)
    return torch.stack(seen)


outputs = stack_oracle.stacked(layer)
