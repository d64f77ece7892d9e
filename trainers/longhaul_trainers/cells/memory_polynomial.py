"""The fixed matrices of memories that hold a signal's past as coefficients of polynomials."""

import torch
from torch import Tensor


def legendre_window(order: int) -> tuple[Tensor, Tensor]:
    """A and B of theta m' = A m + B u, a sliding window of length theta (HiPPO-LegT, LMU).

    m holds the coefficients of shifted Legendre polynomials: u(t - r theta) is about
    sum_i P_i(2r - 1) m_i for r in [0, 1]. Shapes (N, N) and (N,), float64.

    Reference: Voelker, Kajić, Eliasmith, NeurIPS 2019, equations 1 and 2.
    """
    i = torch.arange(order, dtype=torch.float64)
    sign = torch.where(i[:, None] < i, -1.0, (-1.0) ** (i[:, None] - i + 1))
    scale = 2 * i + 1
    return scale[:, None] * sign, scale * (-1.0) ** i


def scaled_legendre(order: int) -> tuple[Tensor, Tensor]:
    """A and B of t m' = -A m + B u, the whole past scaled to one interval (HiPPO-LegS).

    Shapes (N, N), lower triangular, and (N,), float64.

    Reference: Gu et al., NeurIPS 2020, arXiv:2008.07669, theorem 2.
    """
    i = torch.arange(order, dtype=torch.float64)
    root = (2 * i + 1).sqrt()
    return torch.outer(root, root).tril(-1) + torch.diag(i + 1), root


def zero_order_hold(A: Tensor, B: Tensor, step: float) -> tuple[Tensor, Tensor]:
    """The exact step of m' = A m + B u for a u that is held constant over it.

    With the inputs as one more state, the exponential of [[A, B], [0, 0]] has both in its upper
    rows; A need not be invertible.

    Args:
        A: shape (N, N).
        B: shape (N,).
        step: its length in time.

    Returns:
        The matrices that multiply m and u, shapes (N, N) and (N,).
    """
    order = A.shape[0]
    joint = A.new_zeros(order + 1, order + 1)
    joint[:order, :order], joint[:order, order] = A, B
    stepped = torch.linalg.matrix_exp(step * joint)
    return stepped[:order, :order], stepped[:order, order]
