"""minLSTM (arXiv:2410.01201)."""

import stack_oracle
import torch

CASES = [{}, {"mode": "bare", "layers": 2, "candidate": "linear", "norm": "layer"}]


def layer(p, x, settings, depth):
    n = round(settings.expansion * settings.hidden_size)
    h, seen = torch.zeros(x.shape[1], n, dtype=x.dtype), []
    for t in range(x.shape[0]):
        products = x[t] @ p["input_weight"].T + p["bias"]
        f, i = torch.sigmoid(products[:, :n]), torch.sigmoid(products[:, n : 2 * n])
        v = products[:, 2 * n :]
        if settings.candidate == "positive":
            v = torch.where(v >= 0, v + 0.5, torch.sigmoid(v))
        h = f / (f + i) * h + i / (f + i) * v
        seen.append(h @ p["output_weight"].T if settings.expansion != 1 else h)
    return torch.stack(seen)


outputs = stack_oracle.stacked(layer)
