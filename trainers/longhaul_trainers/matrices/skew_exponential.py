"""Exponentials of skew-symmetric matrices, cheap to differentiate.

Those of a pack in float32 on a CPU are compiled; all others are written with torch.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from longhaul_trainers.scans.native.library import run, serves
from longhaul_trainers.threads import threads_for_scans

# A truncated Taylor series of this degree is exact to rounding for eigenvalues of modulus up to
# _RADIUS: 0.5^9 / 9! = 5e-9 and 0.5^17 / 17! = 2e-20.
_DEGREES = {torch.float32: 8, torch.float64: 16}
_RADIUS = 0.5
# So many nested commutators give the derivative's series to rounding: as differences of such
# eigenvalues, theirs have a modulus up to 1; 1 / 11! = 3e-8 and 1 / 19! = 8e-18.
_COMMUTATORS = {torch.float32: 9, torch.float64: 17}


# So many halvings the compiled exponential has room for at first: eigenvalues of modulus up to 64.
_ROOM = 6


def compiled_exponentials(upper: Tensor, size: int) -> Tensor | None:
    """exp(A) of every slot by the compiled program, where there is one for such tensors.

    The scheme is that of `skew_exponential` with a polynomial that three products evaluate and
    eigenvalues of modulus up to 1, differentiated product by product: 3 products and one for each
    halving, backwards 5 and two for each halving.

    Args:
        upper: the entries of each A above the diagonal, row after row, shape (P, H (H - 1) / 2).
        size: H.

    Returns:
        Shape (P, H, H); can be differentiated once.
    """
    if upper.dtype != torch.float32 or not serves(upper):
        return None
    result: Tensor = _CompiledExponentials.apply(  # type: ignore[no-untyped-call]
        upper, size
    )
    return result


class _CompiledExponentials(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, upper: Tensor, size: int) -> Tensor:
        upper, room = upper.contiguous(), _ROOM
        result = upper.new_empty(len(upper), size, size)
        while True:
            sizes = (len(upper), size, threads_for_scans(), room)
            tape = upper.new_empty(len(upper), run("exponential_tape", size, room))
            halvings = torch.empty(len(upper), dtype=torch.int64)
            run("exponential_forward", *sizes, upper, tape, result, halvings)
            most = max(halvings.tolist())
            if most <= room:
                break
            room = most
        ctx.sizes = sizes
        ctx.save_for_backward(tape, halvings)
        return result

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, gradient: Tensor
    ) -> tuple[Tensor, None]:
        tape, halvings = ctx.saved_tensors
        pack, size, *_ = ctx.sizes
        by_upper = tape.new_empty(pack, size * (size - 1) // 2)
        given = gradient.contiguous()
        run("exponential_backward", *ctx.sizes, tape, halvings, given, by_upper)
        return by_upper, None


def skew_exponential(A: Tensor) -> Tensor:
    """exp(A) by scaling, a Taylor polynomial and squaring.

    `torch.linalg.matrix_exp` differentiates by an exponential of twice the size, which for one
    matrix of the usual sizes costs as much as a whole scan. Here all is matrix products, in float32
    four and one for each halving, three of which reach eigenvalues of modulus 4.

    The backward pass does not follow the forward one but uses that exp(A) is orthogonal and every
    factor skew-symmetric. With ad(Y) = A Y - Y A and S the skew-symmetric part of exp(A)^T G the
    gradient by A is (e^ad - 1) / ad of S. With f(x) = (e^x - 1) / x, f(2 x) = f(x) (e^x + 1) / 2,
    and e^ad S = R S R^T for R = exp(A): two products for each halving, then a series of
    commutators, one product each, as S A is the transpose of A S.

    Args:
        A: shape (H, H), skew-symmetric, float32 or float64. One matrix: how often it is halved
            depends on its own norm, and with it the last bits.

    Returns:
        Shape (H, H). Its error grows with the largest eigenvalue's modulus, as that of any scaling
        and squaring: about 2 |lambda| roundings.

    Reference: Paterson and Stockmeyer, "On the Number of Nonscalar Multiplications Necessary to
    Evaluate Polynomials", SIAM Journal on Computing 2(1), 1973.
    Its gradient is skew-symmetric too: the part of it that counts, where only such A exist. It can
    be differentiated once.
    """
    result: Tensor = _SkewExponential.apply(A)  # type: ignore[no-untyped-call]
    return result


class _SkewExponential(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, A: Tensor) -> Tensor:
        square = A @ A
        # the squares of the eigenvalues are at most the 1-norm of A^2
        halvings = _halvings(math.sqrt(one_norm(square)))
        roots = [_taylor(A, square, halvings)]
        for _ in range(halvings):
            roots.append(roots[-1] @ roots[-1])
        ctx.save_for_backward(A * 2.0**-halvings, *roots)
        return roots[-1]

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, gradient: Tensor
    ) -> Tensor:
        X, *roots, result = ctx.saved_tensors
        S = _skew_part(result.mT @ gradient)
        for root in reversed(roots):
            S = torch.lerp(S, root @ S @ root.mT, 0.5)
        total, term = S, S
        for power in range(1, _COMMUTATORS[X.dtype] + 1):
            term = _skew_part(X @ term)
            total = total + term * (2.0**power / math.factorial(power + 1))
        return total


def _skew_part(M: Tensor) -> Tensor:
    return (M - M.mT) / 2


def halved_taylor(A: Tensor, square: Tensor, bound: float) -> Tensor:
    """exp(A) by a Taylor polynomial of A, halved a number of times, and as many squarings.

    Args:
        A: shape (H, H), float32 or float64.
        square: A^2.
        bound: b with |A^k| <= b^k in some norm for every k beyond the polynomial's degree. Where
            it is not finite nothing is halved, and neither will the result be.
    """
    halvings = _halvings(bound)
    result = _taylor(A, square, halvings)
    for _ in range(halvings):
        result = result @ result
    return result


def _taylor(A: Tensor, square: Tensor, halvings: int) -> Tensor:
    """The polynomial of A / 2^halvings (Paterson and Stockmeyer's scheme)."""
    scale = 2.0**-halvings
    identity = torch.eye(A.shape[-1], dtype=A.dtype, device=A.device)
    X, X2 = A * scale, square * scale**2
    X3, X4 = X2 @ X, X2 @ X2
    degree = _DEGREES[A.dtype]
    result = X4 / math.factorial(degree)
    for first in range(degree - 4, -1, -4):
        if first < degree - 4:
            result = X4 @ result
        c = [1 / math.factorial(first + power) for power in range(4)]
        result = result + (c[0] * identity + c[1] * X + c[2] * X2 + c[3] * X3)
    return result


def one_norm(A: Tensor) -> float:
    """The largest sum of moduli of a column."""
    return float(torch.linalg.matrix_norm(A.detach(), 1))


def _halvings(bound: float) -> int:
    if not math.isfinite(bound) or bound <= _RADIUS:
        return 0
    return math.ceil(math.log2(bound / _RADIUS))
