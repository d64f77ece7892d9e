"""W = A_1 x ... x A_F, entry by entry from the digits of its indices (arXiv:1705.10142)."""

import torch

HIDDEN_SIZE = 8
CASES = [{}, {"factor_size": 4, "complex_valued": False, "unitary_penalty": 0.3}]


def factors(p, settings, hidden_size):
    sizes = {2: [2] * (hidden_size.bit_length() - 1), 4: [4, hidden_size // 4]}
    found = [p[f"factors.{f}"] for f in range(len(sizes[settings.factor_size]))]
    assert [one.shape[-1] for one in found] == sizes[settings.factor_size]
    return found


def matrix(p, settings, hidden_size):
    rows = []
    for i in range(hidden_size):
        row = []
        for j in range(hidden_size):
            re, im, stride = torch.ones(()).double(), torch.zeros(()).double(), hidden_size
            for A in factors(p, settings, hidden_size):
                q = A.shape[-1]
                stride //= q
                entry = A[:, i // stride % q, j // stride % q]
                a, b = entry if settings.complex_valued else (entry[0], torch.zeros(()))
                re, im = re * a - im * b, re * b + im * a
            row.append(torch.stack([re, im]))
        rows.append(torch.stack(row))
    re, im = torch.stack(rows).unbind(-1)
    if not settings.complex_valued:
        return re
    return torch.cat([torch.cat([re, -im], 1), torch.cat([im, re], 1)])


def penalty(p, settings, hidden_size):
    total = 0.0
    for A in factors(p, settings, hidden_size):
        if settings.complex_valued:
            A, parts = torch.cat([torch.cat([A[0], -A[1]], 1), torch.cat([A[1], A[0]], 1)]), 2
        else:
            A, parts = A[0], 1
        deviation = (A.T @ A - torch.eye(len(A), dtype=A.dtype)).square().sum()
        total = total + deviation / parts  # the real form has every entry twice
    return p["strength"] * total
