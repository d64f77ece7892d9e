"""KRU (arXiv:1705.10142): one factor after the other, in complex numbers."""

import torch

HIDDEN_SIZE = 8
CASES = [{}, {"complex_valued": False, "factor_size": 4, "nonlinearity": "modrelu"}]


def applied(factors, h):
    """(A_1 x ... x A_F) h by turning one axis of h after the other."""
    h = h.view(*(len(A) for A in factors))
    for axis, A in enumerate(factors):
        h = torch.movedim(torch.tensordot(A, h, dims=([1], [axis])), 0, axis)
    return h.flatten()


def outputs(p, x, settings):
    n, whole = settings.hidden_size, settings.complex_valued
    count = 3 if whole else 2
    raw = [p[f"recurrent.factors.{f}"] for f in range(count)]
    factors = [torch.complex(A[0], A[1]) if whole else A[0] for A in raw]
    kind = torch.complex128 if whole else torch.float64
    h, seen = [torch.zeros(n, dtype=kind)] * x.shape[1], []
    for t in range(x.shape[0]):
        for b in range(x.shape[1]):
            added = p["input_weight"] @ x[t, b] + p["bias"]
            if whole:
                z = applied(factors, h[b]) + torch.complex(added[:n], added[n:])
                offset, epsilon = p["nonlinearity.offset"], p["nonlinearity.epsilon"]
                factor = torch.relu(z.abs() + offset + p["nonlinearity.bias"])
                h[b] = z / (z.abs() + offset + epsilon) * factor
            else:
                z = applied(factors, h[b]) + added
                h[b] = torch.sign(z) * torch.relu(z.abs() + p["nonlinearity.bias"])
        states = torch.stack(h)
        seen.append(torch.cat([states.real, states.imag], 1) if whole else states)
    return torch.stack(seen)
