"""Running a function of a pack slot by slot where its bits could depend on the neighbours.

A vector loop of the CPU may round its tail otherwise than the rest (exp, sigmoid, gelu, ...), and a
reduction over a pack may add up in another order than over one slot. Over whole sequences a slot's
share is work enough for one call, so that nothing is lost by taking the slots one after the other.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


def slotwise(
    function: Callable[..., tuple[Tensor, ...]], tensors: Sequence[Tensor]
) -> tuple[Tensor, ...]:
    """``function(*tensors)``; on a CPU for each slot alone, on other devices for all together.

    Args:
        function: acts on each slot alone, and takes any P. It reads nothing else that has slots.
        tensors: its arguments, each of shape (P, ...).

    Returns:
        What the function returns: tensors (P, ...).
    """
    if tensors[0].device.type != "cpu":
        return _contiguous(function, tensors)
    # A pack of one is split as well: a tensor that is used outside too adds up its gradients in the
    # order that the graph has, and the graph must be the same.
    slots = zip(*(one.split(1) for one in tensors), strict=True)
    parts = [_contiguous(function, slot) for slot in slots]
    if len(parts) == 1:
        return tuple(one.contiguous() for one in parts[0])
    return tuple(torch.cat(one) for one in zip(*parts, strict=True))


def row_sums(shares: Tensor) -> Tensor:
    """Sums (P, ...) of each row's share (P, B, ...); slot by slot, so that their order is one."""
    return torch.stack([one.sum(0) for one in shares])


def _contiguous(
    function: Callable[..., tuple[Tensor, ...]], tensors: Sequence[Tensor]
) -> tuple[Tensor, ...]:
    """Runs it on contiguous tensors forward and backward.

    Between the slots of a pack a slot's tensors may have gaps that they have not alone, and kernels
    take the numbers of a tensor with gaps in another order.
    """
    results = function(*(one.contiguous() for one in tensors))
    return tuple(_WithContiguousGradient.apply(one) for one in results)  # type: ignore[no-untyped-call]


class _WithContiguousGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return values.view_as(values)

    @staticmethod
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, gradient: Tensor
    ) -> Tensor:
        return gradient.contiguous()
