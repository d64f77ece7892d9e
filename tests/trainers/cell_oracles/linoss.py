"""LinOSS (arXiv:2410.03943)."""

import stack_oracle
import torch

CASES = [{}, {"mode": "bare", "layers": 1, "state_size": 4, "discretization": "imex"}]


def layer(p, x, settings, depth):
    size = settings.state_size or settings.hidden_size
    A, dt = torch.relu(p["frequency"]), 1 / (1 + torch.exp(-p["step"]))
    B = torch.complex(p["input_weight"][:size], p["input_weight"][size:])
    C = torch.complex(p["output_weight"][:, :size], p["output_weight"][:, size:])
    D = p["feedthrough.weight"]
    z = y = torch.zeros(x.shape[1], size, dtype=B.dtype)
    seen = []
    for xt in x:
        force = xt.to(B.dtype) @ B.T
        if settings.discretization == "im":
            # z' = z + dt (-A (y + dt z') + force), solved for z'
            z = (z + dt * (force - A * y)) / (1 + dt**2 * A)
        else:
            z = z + dt * (force - A * y)
        y = y + dt * z
        direct = D * xt if settings.mode == "block" else xt @ D.T
        seen.append((y @ C.T).real + direct)
    return torch.stack(seen)


outputs = stack_oracle.stacked(layer)
