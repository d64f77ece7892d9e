"""SRNN (arXiv:2007.07324): roll, add, rectify."""

import torch

CASES = [
    {},
    {"gated": False, "input_layers": 2, "input_hidden_size": 3, "nonlinearity": "modrelu"},
]


def outputs(p, x, settings):
    count = settings.input_layers + 1

    def linear(values, i):
        return values @ p[f"weights.{i}"].T + p[f"biases.{i}"]

    h, seen = torch.zeros(x.shape[1], settings.hidden_size, dtype=x.dtype), []
    for step in x:
        y = step
        for i in range(count):
            y = linear(y, i) if i == count - 1 else torch.relu(linear(y, i))
        if settings.gated:
            y = y * torch.sigmoid(linear(step, count))
        z = torch.roll(h, 1, -1) + y
        if settings.nonlinearity.name == "relu":
            h = torch.relu(z)
        else:
            h = torch.sign(z) * torch.relu(torch.abs(z) + p["nonlinearity.bias"])
        seen.append(h)
    return torch.stack(seen)
