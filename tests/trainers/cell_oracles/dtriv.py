"""dtriv (arXiv:1909.09501)."""

import torch

CASES = [
    {},
    {
        "rebase_every": 2,
        "project_every": 1,
        "skew_init": "cayley",
        "nonlinearity": "relu",
        "initial_state": "learned",
    },
    {"rebase_every": None},
]
PUBLISHED = [
    # as many as expRNN's
    (10, {"hidden_size": 176}, 9, 18_929),
]
TOLERANCE = 1e-4


def outputs(p, x, settings):
    n = settings.hidden_size
    rows, columns = torch.triu_indices(n, n, 1)
    X = torch.zeros(n, n, dtype=x.dtype).index_put((rows, columns), p["recurrent.skew.upper"])
    W = p["recurrent.base"].detach() @ torch.linalg.matrix_exp(X - X.T)
    h = [p.get("initial", torch.zeros(n, dtype=x.dtype)) for _ in range(x.shape[1])]
    seen = []
    for t in range(x.shape[0]):
        for b in range(x.shape[1]):
            z = W @ h[b] + p["input_weight"] @ x[t, b]
            if settings.nonlinearity.name == "relu":
                h[b] = torch.relu(z)
            else:
                h[b] = torch.sign(z) * torch.relu(torch.abs(z) + p["nonlinearity.bias"])
        seen.append(torch.stack(h))
    return torch.stack(seen)


def deviation(cell):
    W = cell.recurrent.matrix().detach().double()
    return torch.linalg.matrix_norm(W.mT @ W - torch.eye(W.shape[-1], dtype=W.dtype))
