"""scuRNN (arXiv:1811.04142), in complex numbers."""

import torch

CASES = [{}]


def outputs(p, x, settings):
    n = settings.hidden_size
    A = torch.zeros(n, n, dtype=torch.complex128)
    A = A + 1j * symmetric(p["recurrent.symmetric"], n)
    rows, columns = torch.triu_indices(n, n, 1)
    X = torch.zeros(n, n, dtype=x.dtype)
    X = X.index_put((rows, columns), p["recurrent.skew.upper"])
    A, identity = A + X - X.T, torch.eye(n, dtype=A.dtype)
    V = p["input_weight"][:n] + 1j * p["input_weight"][n:]
    h = [p["initial"][:n] + 1j * p["initial"][n:] for _ in range(x.shape[1])]
    seen = []
    for t in range(x.shape[0]):
        for b in range(x.shape[1]):
            turned = torch.exp(1j * p["recurrent.theta"]) * h[b]
            z = torch.linalg.solve(identity + A, (identity - A) @ turned)
            z = z + V @ x[t, b].to(V.dtype)
            threshold = torch.relu(z.abs() + p["nonlinearity.bias"])
            h[b] = z / (z.abs() + p["nonlinearity.epsilon"]) * threshold
        seen.append(torch.stack([torch.cat([one.real, one.imag]) for one in h]))
    return torch.stack(seen)


def symmetric(entries, n):
    rows, columns = torch.triu_indices(n, n)
    upper = torch.zeros(n, n, dtype=entries.dtype).index_put((rows, columns), entries)
    return upper + upper.T - torch.diag(upper.diagonal())
