"""scoRNN (arXiv:1707.09520)."""

import torch

CASES = [{}, {"skew_init": "henaff", "rho": 0.2, "nonlinearity": "tanh"}]
PUBLISHED = [
    # Helfrich et al. 2018, pixel MNIST: about 16k, 69k and 137k
    (1, {"hidden_size": 170}, 10, 16_415),
    (1, {"hidden_size": 360}, 10, 68_950),
    (1, {"hidden_size": 512}, 10, 136_970),
]
TOLERANCE = 1e-4


def outputs(p, x, settings):
    n = settings.hidden_size
    rows, columns = torch.triu_indices(n, n, 1)
    X = torch.zeros(n, n, dtype=x.dtype).index_put((rows, columns), p["recurrent.skew.upper"])
    A, identity = X - X.T, torch.eye(n, dtype=x.dtype)
    D = torch.ones(n, dtype=x.dtype)
    D[n - round(settings.rho * n) :] = -1
    W = torch.linalg.inv(identity + A) @ (identity - A) @ torch.diag(D)
    h = torch.zeros(x.shape[1], n, dtype=x.dtype)
    seen = []
    for step in x:
        z = torch.einsum("ij,bj->bi", W, h) + torch.einsum("ij,bj->bi", p["input_weight"], step)
        if settings.nonlinearity.name == "tanh":
            h = torch.tanh(z)
        else:
            h = torch.sign(z) * torch.relu(torch.abs(z) + p["nonlinearity.bias"])
        seen.append(h)
    return torch.stack(seen)


def deviation(cell):
    W = cell.recurrent.matrix().detach().double()
    return torch.linalg.matrix_norm(W.mT @ W - torch.eye(W.shape[-1], dtype=W.dtype))
