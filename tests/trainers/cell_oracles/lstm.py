"""The LSTM, gates in the order i, f, g, o."""

import torch

CASES = [
    {},
    {"forget_init": "chrono", "chrono_max": 50, "recurrent_init": "glorot"},
    {"forget_init": "uniform"},
]
PUBLISHED = [
    # Kerg et al. 2019 (arXiv:1905.12080), "18.9K" for one-hot copying and "270K" for pixel MNIST
    (10, {"hidden_size": 63}, 9, 19_224),
    (1, {"hidden_size": 257}, 10, 268_832),
    # Helfrich et al. 2018 (arXiv:1707.09520), pixel MNIST: about 1,058k
    (1, {"hidden_size": 512}, 10, 1_057_802),
]


def outputs(p, x, settings):
    n = settings.hidden_size
    U, V, b = (p[key].split(n) for key in ("recurrent_weight", "input_weight", "bias"))
    h = [torch.zeros(n, dtype=x.dtype)] * x.shape[1]
    c = list(h)
    seen = []
    for step in x:
        for k, given in enumerate(step):
            i, f, g, o = (U[j] @ h[k] + V[j] @ given + b[j] for j in range(4))
            c[k] = torch.sigmoid(f) * c[k] + torch.sigmoid(i) * torch.tanh(g)
            h[k] = torch.sigmoid(o) * torch.tanh(c[k])
        seen.append(torch.stack(h))
    return torch.stack(seen)
