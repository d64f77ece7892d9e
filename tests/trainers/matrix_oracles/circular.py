"""W h is the library's circular convolution (arXiv:2309.08045)."""

import torch

CASES = [{}, {"channels": 2, "kernel_size": 5, "recurrent_init": "uniform"}]


def matrix(p, settings, hidden_size):
    c, k = settings.channels, settings.kernel_size
    basis = torch.eye(hidden_size, dtype=torch.float64).view(hidden_size, c, hidden_size // c)
    layer = torch.nn.functional.pad(basis, (k // 2, k // 2), mode="circular")
    return torch.nn.functional.conv1d(layer, p["kernel"]).flatten(1).T
