"""LMU (NeurIPS 2019), with HiPPO's scaled measure (arXiv:2008.07669) as an option."""

import torch

CASES = [
    {},
    {"memory_order": 5, "measure": "legs"},
]
PUBLISHED = [
    # psMNIST: "102K"
    (1, {"hidden_size": 212, "memory_order": 256}, 10, 102_027),
]


def outputs(p, x, settings):
    inputs, n, order = x.shape[2], settings.hidden_size, settings.memory_order
    ex, eh, em = p["encoder"][0].split([inputs, n, order])
    Wx, Wh, Wm = p["kernel"].split([inputs, n, order], 1)
    A, B = p["memory_matrix"], p["memory_input"]  # test_lmu.py holds them against the equations
    h = torch.zeros(x.shape[1], n, dtype=x.dtype)
    m = torch.zeros(x.shape[1], order, dtype=x.dtype)
    seen = []
    for t, xt in enumerate(x, 1):
        u = (xt @ ex + h @ eh + m @ em)[:, None]
        if settings.measure == "legs":
            left = torch.linalg.inv(torch.eye(order, dtype=x.dtype) + A / (2 * t))
            m = (m - m @ A.T / (2 * t) + u * B / t) @ left.T
        else:
            m = m @ A.T + u * B
        h = torch.tanh(xt @ Wx.T + h @ Wh.T + m @ Wm.T)
        seen.append(h)
    return torch.stack(seen)
