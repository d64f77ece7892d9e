"""What surrounds the layers of a stacked cell, step by step; the cells' oracles give the layer.

Used from a cell's oracle as ``outputs = stacked(layer)``, where ``layer(p, x, settings, depth)``
makes the outputs (T, B, H) of one layer from its own parameters and inputs (T, B, I).
"""

import math

import torch


def normalised(p, x, kind):
    rows = []
    flat = x.reshape(-1, x.shape[-1])
    for row in flat:
        mean, variance = row.mean(), row.var(unbiased=False)
        if kind == "batch":
            mean, variance = flat.mean(0), flat.var(0, unbiased=False)
        rows.append((row - mean) / (variance + 1e-5).sqrt() * p["scale"] + p["shift"])
    return torch.stack(rows).view_as(x)


def gated(p, x, kind):
    if kind == "gelu_glu":
        x = 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    n = x.shape[-1]
    first = x @ p["weight"][:n].T + p["bias"][:n]
    second = x @ p["weight"][n:].T + p["bias"][n:]
    return first * torch.sigmoid(second)


def stacked(layer):
    def outputs(p, x, settings):
        block = settings.mode == "block"
        norm = settings.norm or ("layer" if block else "none")
        if block:
            x = x @ p["encoder_weight"].T + p["encoder_bias"]
        for depth in range(settings.layers):

            def own(part, depth=depth):
                prefix = f"{part}.{depth}."
                return {k.removeprefix(prefix): v for k, v in p.items() if k.startswith(prefix)}

            def norming(values, own=own):
                return values if norm == "none" else normalised(own("norms"), values, norm)

            if not block:
                x = norming(layer(own("layers"), x, settings, depth))
                continue
            y = layer(own("layers"), norming(x) if settings.prenorm else x, settings, depth)
            if settings.gate != "none":
                y = gated(own("gates"), y, settings.gate)
            x = x + y if settings.prenorm else norming(x + y)
        return x

    return outputs
