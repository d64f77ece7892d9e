"""Complex matrices as real ones.

A complex vector of n units is the real one of their n real parts, then their n imaginary parts.
"""

import torch
from torch import Tensor


def real_form(matrix: Tensor) -> Tensor:
    """[[Re, -Im], [Im, Re]], shape (2n, 2n), of a complex matrix (n, n)."""
    re, im = matrix.real, matrix.imag
    return torch.cat([torch.cat([re, -im], -1), torch.cat([im, re], -1)], -2)


def unit_phase(angle: Tensor) -> Tensor:
    """exp(i angle), complex."""
    return torch.complex(angle.cos(), angle.sin())
