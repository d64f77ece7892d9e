"""nnRNN (arXiv:1905.12080)."""

import torch

CASES = [
    {},
    {
        "gamma": "fixed",
        "triangular_mask": "released",
        "skew_init": "random",
        "learning_rate_ratio": 1.0,
        "nonlinearity": "relu",
        "input_init": "kaiming_normal",
        "initial_state": "learned",
    },
]
PUBLISHED = [
    # "18.9K" for one-hot copying and 269K for permuted images, with the mask of the authors
    (10, {"hidden_size": 128, "triangular_mask": "released"}, 9, 18_953),
    (1, {"hidden_size": 512, "triangular_mask": "released"}, 10, 268_298),
    # and without the entries inside the blocks, one less for each pair
    (10, {"hidden_size": 128}, 9, 18_953 - 64),
]


def recurrent_matrix(p, settings):
    n = settings.hidden_size
    rows, columns = torch.triu_indices(n, n, 1)
    X = torch.zeros(n, n, dtype=torch.float64)
    X = X.index_put((rows, columns), p["recurrent.skew.upper"])
    P = torch.linalg.matrix_exp(X - X.T)
    rows, columns = torch.tril_indices(n, n, -1)
    if settings.triangular_mask == "exact":
        keep = torch.tensor([i // 2 != j // 2 for i, j in zip(rows, columns, strict=True)])
        rows, columns = rows[keep], columns[keep]
    lower = torch.zeros(n, n, dtype=torch.float64)
    lower = lower.index_put((rows, columns), p["recurrent.triangle"])
    theta = p["recurrent.theta"]
    gamma = p.get("recurrent.gamma", torch.ones_like(theta))
    blocks = []
    for angle, modulus in zip(theta, gamma, strict=True):
        turn = torch.linalg.matrix_exp(angle * torch.tensor([[0.0, -1.0], [1.0, 0.0]]).double())
        blocks.append(modulus * turn)
    return P @ (torch.block_diag(*blocks) + lower) @ P.T


def outputs(p, x, settings):
    W = recurrent_matrix(p, settings)
    h = p.get("initial", torch.zeros(settings.hidden_size).double()).expand(x.shape[1], -1)
    seen = []
    for step in x:
        z = h @ W.T + step @ p["input_weight"].T
        if settings.nonlinearity.name == "relu":
            h = z * (z > 0)
        else:
            h = torch.sign(z) * torch.relu(torch.abs(z) + p["nonlinearity.bias"])
        seen.append(h)
    return torch.stack(seen)
