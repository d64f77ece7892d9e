"""Drawing one slot's initial matrix; every function takes the slot's own generator."""

import math

import torch
from torch import Tensor


def uniform(low: float, high: float, *shape: int, generator: torch.Generator) -> Tensor:
    """Entries independent and uniform on [low, high), float32."""
    return torch.rand(*shape, generator=generator) * (high - low) + low


def glorot_uniform(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    """Entries uniform on ±sqrt(6 / (rows + columns)), shape (rows, columns).

    Reference: Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural
    networks", AISTATS 2010, equation 16.
    """
    bound = math.sqrt(6 / (rows + columns))
    return uniform(-bound, bound, rows, columns, generator=generator)


def glorot_normal(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    """Entries normal with variance 2 / (rows + columns), shape (rows, columns)."""
    return math.sqrt(2 / (rows + columns)) * torch.randn(rows, columns, generator=generator)


def haar_orthogonal(size: int, generator: torch.Generator) -> Tensor:
    """An orthogonal matrix (size, size) from the Haar measure.

    Drawn in float64, so that the float32 result is orthogonal to within rounding. The columns of Q
    are multiplied by the signs of R's diagonal: without that Q is not uniformly distributed.

    Reference: Mezzadri, "How to generate random matrices from the classical compact groups",
    Notices of the AMS 54(5), 2007, arXiv:math-ph/0609050.
    """
    gaussian = torch.randn(size, size, generator=generator, dtype=torch.float64)
    Q, R = torch.linalg.qr(gaussian)
    drawn: Tensor = Q * R.diagonal().sign()
    return drawn.float()
