"""Lipschitz RNN (arXiv:2006.12070), with the gate of the authors' program."""

import torch

CASES = [
    {},
    {"solver": "midpoint", "alpha": 0.5, "linear_beta": 0.9, "linear_gamma": 0.1, "epsilon": 0.3},
    {"solver": "midpoint", "gated": True, "epsilon": 0.2},
    {"gated": True, "init_std": 4},
]
PUBLISHED = [
    # published as "34K" for pixel by pixel MNIST
    (1, {"hidden_size": 128}, 10, 34_314),
]


def single(*values):
    return torch.tensor(values, dtype=torch.float32).double()


def mixed(M, beta, gamma):
    return beta * (M - M.T) + (1 - beta) * (M + M.T) - gamma * torch.eye(len(M), dtype=M.dtype)


def outputs(p, x, settings):
    n = settings.hidden_size
    epsilon, alpha, beta, gamma = single(
        settings.epsilon, settings.alpha, settings.beta, settings.gamma
    )
    of_linear = (settings.linear_beta, settings.linear_gamma)
    linear_beta = beta if of_linear[0] is None else single(of_linear[0])
    linear_gamma = gamma if of_linear[1] is None else single(of_linear[1])
    W = mixed(p["recurrent.weight"], beta, gamma)
    A = mixed(p["linear.weight"], linear_beta, linear_gamma)
    V, b = p["input_weight"], p["bias"]

    def slope(h, x):
        f = alpha * A @ h + torch.tanh(W @ h + V[:n] @ x + b[:n])
        return f / (1 + torch.exp(-(W @ h + V[n:] @ x + b[n:]))) if settings.gated else f

    h = [torch.zeros(n, dtype=x.dtype) for _ in range(x.shape[1])]
    seen = []
    for t in range(x.shape[0]):
        for k in range(x.shape[1]):
            if settings.solver == "midpoint":
                half = h[k] + epsilon / 2 * slope(h[k], x[t, k])
                h[k] = h[k] + epsilon * slope(half, x[t, k])
            else:
                h[k] = h[k] + epsilon * slope(h[k], x[t, k])
        seen.append(torch.stack(h))
    return torch.stack(seen)
