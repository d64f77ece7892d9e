"""The exponential of one square matrix of any kind, cheap to differentiate."""

from torch import Tensor

from longhaul_trainers.matrices.skew_exponential import halved_taylor, one_norm


def general_exponential(A: Tensor) -> Tensor:
    """exp(A), as `skew_exponential` but for any A.

    How often A is halved follows from |A^k| <= max(|A^2|^(1/2), |A^3|^(1/3))^k for k >= 2, which
    for a matrix far from normal is much less than |A|^k.

    Args:
        A: shape (H, H), float32 or float64.

    Returns:
        Shape (H, H).

    Reference: Al-Mohy and Higham, "A New Scaling and Squaring Algorithm for the Matrix
    Exponential", SIAM Journal on Matrix Analysis and Applications 31(3), 2009, theorem 4.2.
    """
    square = A @ A
    cube = square.detach() @ A.detach()
    bound = max(one_norm(square) ** (1 / 2), one_norm(cube) ** (1 / 3))
    return halved_taylor(A, square, bound)
