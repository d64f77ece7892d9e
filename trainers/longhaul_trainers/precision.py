"""The precision in which recurrent products read their factors."""

from typing import Literal, get_args

from torch import Tensor

Precision = Literal["float32", "bfloat16"]
"""``float32``: as they are. ``bfloat16``: rounded to the nearest bfloat16, ties to even; products
of two bfloat16 numbers are exact in float32, in which they are added up. Everything else stays in
float32 either way."""

PRECISIONS: tuple[Precision, ...] = get_args(Precision)


def factor(values: Tensor, precision: Precision) -> Tensor:
    """What a product reads: the values themselves, or the bfloat16 numbers nearest to them.

    Returns:
        The same type as ``values``, of any shape; elementwise, so that no slot sees another.
    """
    return values if precision == "float32" else values.bfloat16().to(values.dtype)
