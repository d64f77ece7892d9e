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


def kaiming_normal(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    """Entries normal with variance 2 / columns, for a rectifier, shape (rows, columns).

    Reference: He et al., "Delving Deep into Rectifiers", ICCV 2015, equation 10.
    """
    return math.sqrt(2 / columns) * torch.randn(rows, columns, generator=generator)


def uniform_gate_bias(size: int, generator: torch.Generator) -> Tensor:
    """Biases log(u / (1 - u)) with u uniform on (1/size, 1 - 1/size), shape (size,).

    A sigmoid gate with them and no input is u: it keeps for one step as likely as for many. One
    unit alone gets 0.

    Reference: Gu et al., "Improving the Gating Mechanism of Recurrent Neural Networks", ICML 2020,
    arXiv:1910.09890.
    """
    if size == 1:
        return torch.zeros(1)
    return torch.logit(uniform(1 / size, 1 - 1 / size, size, generator=generator))


def haar_orthogonal(size: int, generator: torch.Generator) -> Tensor:
    """An orthogonal matrix (size, size) from the Haar measure.

    Drawn in float64, so that the float32 result is orthogonal to within rounding. The columns of Q
    are multiplied by the signs of R's diagonal: without that Q is not uniformly distributed.

    Reference: Mezzadri, "How to generate random matrices from the classical compact groups",
    Notices of the AMS 54(5), 2007, arXiv:math-ph/0609050.
    """
    return _haar_orthogonal(size, generator).float()


def haar_rotation(size: int, generator: torch.Generator) -> Tensor:
    """A rotation (size, size), float64, from the Haar measure: orthogonal with determinant 1."""
    drawn = _haar_orthogonal(size, generator)
    # a reflection maps one half of the orthogonal matrices to the other and keeps the measure
    drawn[:, 0] *= torch.linalg.slogdet(drawn).sign
    return drawn


def _haar_orthogonal(size: int, generator: torch.Generator) -> Tensor:
    gaussian = torch.randn(size, size, generator=generator, dtype=torch.float64)
    Q, R = torch.linalg.qr(gaussian)
    drawn: Tensor = Q * R.diagonal().sign()
    return drawn


def haar_unitary(size: int, generator: torch.Generator) -> Tensor:
    """A unitary matrix (size, size), complex128, from the Haar measure.

    The real parts are drawn before the imaginary ones. Reference: as `haar_orthogonal`.
    """
    parts = torch.randn(2, size, size, generator=generator, dtype=torch.float64)
    Q, R = torch.linalg.qr(torch.complex(parts[0], parts[1]))
    drawn: Tensor = Q * R.diagonal().sgn()
    return drawn
