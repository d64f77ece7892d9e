"""EURNN (arXiv:1612.05231): the layers are applied to the state, one after the other."""

import torch

CASES = [
    {},
    {"hidden_size": 8, "style": "fft", "initial_state": "learned"},
    {
        "layers": 6,
        "complex_valued": False,
        "nonlinearity": {"name": "modrelu", "offset": 0.5, "bias_init": "constant"},
    },
]


def outputs(p, x, settings):
    n, real = settings.hidden_size, not settings.complex_valued
    kind = x.dtype if real else torch.complex128
    V, start = p["input_weight"], p.get("initial", torch.zeros(2 * n, dtype=x.dtype))
    if not real:
        V, start = V[:n] + 1j * V[n:], start[:n] + 1j * start[n:]
    h = [start[:n].to(kind) for _ in range(x.shape[1])]
    seen = []
    for t in range(x.shape[0]):
        for b in range(x.shape[1]):
            z = turned(p, h[b], settings) + V @ x[t, b].to(kind)
            modulus = z.abs() + p["nonlinearity.offset"]
            threshold = torch.relu(modulus + p["nonlinearity.bias"])
            h[b] = torch.sign(z) * threshold if real else z / modulus * threshold
        both = h if real else [torch.cat([one.real, one.imag]) for one in h]
        seen.append(torch.stack(both))
    return torch.stack(seen)


def turned(p, h, settings):
    """W h."""
    n, used = len(h), 0
    count = settings.layers if settings.style == "tunable" else n.bit_length() - 1
    for layer in range(count):
        if settings.style == "tunable":
            pairs = [(i, i + 1) for i in range(layer % 2, n - 1, 2)]
        else:
            distance = n >> (layer + 1)
            pairs = [(i, i + distance) for i in range(n) if i % (2 * distance) < distance]
        after = list(h)
        for i, j in pairs:
            cos, sin = p["recurrent.theta"][used].cos(), p["recurrent.theta"][used].sin()
            other = h[j]
            if settings.complex_valued:
                other = torch.exp(1j * p["recurrent.phi"][used]) * other
            after[i] = cos * h[i] - sin * other
            after[j] = sin * h[i] + cos * other
            used += 1
        h = torch.stack(after)
    return torch.exp(1j * p["recurrent.omega"]) * h if settings.complex_valued else h
