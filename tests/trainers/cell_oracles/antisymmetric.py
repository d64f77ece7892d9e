"""AntisymmetricRNN (arXiv:1902.09689)."""

import torch

CASES = [
    {},
    {"gated": True, "epsilon": 0.3, "gamma": 0.2, "sigma_w": 1, "recurrent_optimizer": "sgd"},
]
PUBLISHED = [
    # published as "10K" for pixel by pixel MNIST, gated and not
    (1, {"hidden_size": 128}, 10, 9_674),
    (1, {"hidden_size": 128, "gated": True}, 10, 9_930),
]


def outputs(p, x, settings):
    n = settings.hidden_size
    rows, columns = torch.triu_indices(n, n, 1)
    M = torch.zeros(n, n, dtype=x.dtype).index_put((rows, columns), p["recurrent.upper"])
    gamma, epsilon = torch.tensor([settings.gamma, settings.epsilon], dtype=torch.float32).double()
    W = M - M.T - gamma * torch.eye(n, dtype=x.dtype)
    V, b = p["input_weight"], p["bias"]
    h = [torch.zeros(n, dtype=x.dtype) for _ in range(x.shape[1])]
    seen = []
    for t in range(x.shape[0]):
        for k in range(x.shape[1]):
            slope = torch.tanh(W @ h[k] + V[:n] @ x[t, k] + b[:n])
            if settings.gated:
                slope = slope / (1 + torch.exp(-(W @ h[k] + V[n:] @ x[t, k] + b[n:])))
            h[k] = h[k] + epsilon * slope
        seen.append(torch.stack(h))
    return torch.stack(seen)
