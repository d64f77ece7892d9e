"""coRNN (arXiv:2010.00951)."""

import torch

CASES = [{}, {"dt": 0.2, "gamma": 0.5, "epsilon": 3, "damping": "implicit"}]
PUBLISHED = [
    (1, {"hidden_size": 256}, 10, 134_154),  # "134k", sequential MNIST
    (96, {"hidden_size": 128}, 10, 46_474),  # "46k", noise-padded CIFAR-10
]


def outputs(p, x, settings):
    n = settings.hidden_size
    dt, gamma, epsilon = torch.tensor(
        [settings.dt, settings.gamma, settings.epsilon], dtype=torch.float32
    ).double()
    W, W_z = p["recurrent_weight"][:, :n], p["recurrent_weight"][:, n:]
    y = [torch.zeros(n, dtype=x.dtype) for _ in range(x.shape[1])]
    z = list(y)
    seen = []
    for t in range(x.shape[0]):
        for k in range(x.shape[1]):
            force = torch.tanh(W @ y[k] + W_z @ z[k] + p["input_weight"] @ x[t, k] + p["bias"])
            if settings.damping == "implicit":
                z[k] = (z[k] + dt * (force - gamma * y[k])) / (1 + dt * epsilon)
            else:
                z[k] = z[k] + dt * (force - gamma * y[k] - epsilon * z[k])
            y[k] = y[k] + dt * z[k]
        seen.append(torch.stack(y))
    return torch.stack(seen)
