"""RUM (arXiv:1710.09537), with whole rotation matrices."""

import torch

CASES = [{}, {"associative": True, "update_gate": False, "eta": 1.5}]


def outputs(p, x, settings):
    n = settings.hidden_size
    blocks = p["input_weight"].split(n)
    V_r, V = blocks[0], blocks[-1]
    W_r, b_r = p["recurrent_weight"][:n], p["bias"][:n]
    h = [torch.zeros(n, dtype=x.dtype) for _ in range(x.shape[1])]
    memory = [torch.eye(n, dtype=x.dtype) for _ in range(x.shape[1])]
    seen = []
    for step in range(x.shape[0]):
        for b in range(x.shape[1]):
            t = V @ x[step, b]
            R = rotation(t, W_r @ h[b] + V_r @ x[step, b] + b_r)
            if settings.associative:
                memory[b] = R = memory[b] @ R
            c = torch.relu(R @ h[b] + t)
            if settings.update_gate:
                z = p["recurrent_weight"][n:] @ h[b] + blocks[1] @ x[step, b] + p["bias"][n:]
                u = torch.sigmoid(z)
                c = u * h[b] + (1 - u) * c
            h[b] = c if settings.eta is None else settings.eta * c / c.norm().clamp(min=1e-6)
        seen.append(torch.stack(h))
    return torch.stack(seen)


def rotation(start, end):
    u, r = start / start.norm(), end / end.norm()
    cos = u @ r
    sin = torch.sqrt(1 - cos**2)
    v = (r - cos * u) / (r - cos * u).norm()
    plane = torch.stack([u, v], 1)
    turn = torch.stack([torch.stack([cos, -sin]), torch.stack([sin, cos])])
    return torch.eye(len(u), dtype=u.dtype) - plane @ plane.T + plane @ turn @ plane.T
