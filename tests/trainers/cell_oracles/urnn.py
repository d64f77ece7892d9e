"""uRNN (arXiv:1511.06464), in complex numbers."""

import torch

CASES = [
    {},
    {
        "hidden_size": 5,
        "initial_state": "zero",
        "nonlinearity": {"name": "complex_modrelu", "offset": 0.02, "epsilon": 0.01},
    },
]
PUBLISHED = [
    # "16K" for 512 units on pixel by pixel images
    (1, {"hidden_size": 512}, 10, 16_394),
]


def outputs(p, x, settings):
    n = settings.hidden_size
    D1, D2, D3 = (torch.exp(1j * theta) for theta in p["recurrent.phases"])
    v1, v2 = (re + 1j * im for re, im in p["recurrent.reflections"])
    offset, epsilon = p["nonlinearity.offset"], p["nonlinearity.epsilon"]
    V = p["input_weight"][:n] + 1j * p["input_weight"][n:]
    start = p.get("initial", torch.zeros(2 * n, dtype=x.dtype))
    h = [start[:n] + 1j * start[n:] for _ in range(x.shape[1])]
    seen = []
    for t in range(x.shape[0]):
        for b in range(x.shape[1]):
            z = torch.fft.fft(D1 * h[b]) / n**0.5
            z = D2 * reflect(z, v1)[p["recurrent.permutation"]]
            z = D3 * reflect(torch.fft.ifft(z) * n**0.5, v2)
            z = z + V @ x[t, b].to(V.dtype)
            modulus = z.abs()
            threshold = modulus + offset + p["nonlinearity.bias"]
            h[b] = z / (modulus + offset + epsilon) * torch.relu(threshold)
        seen.append(torch.stack([torch.cat([one.real, one.imag]) for one in h]))
    return torch.stack(seen)


def reflect(h, v):
    return h - 2 * v * (v.conj() @ h) / (v.abs() ** 2).sum()
