"""Products over all steps at once, before or after a scan.

Slot by slot, not batched over the pack: a batched product of thin matrices takes another path for
one slot than for several, and a sum over the pack adds up in another order, so that a trial's last
bits would depend on its neighbours. A slot's product over all steps is large enough alone.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from longhaul_trainers.memory import reused_as
from longhaul_trainers.precision import Precision, factor
from longhaul_trainers.scans.slotwise import row_sums


def hoisted_input_product(inputs: Tensor, V: Tensor, bias: Tensor | None = None) -> Tensor:
    """V x + b of every step in one matmul a slot, before the scan.

    Args:
        inputs: x, shape (T, P, B, I).
        V: shape (P, G, I), where G is H, or several times H for a gated cell.
        bias: b, shape (P, G).

    Returns:
        Shape (T, P, B, G); in memory the slots lead, as the scans want it.
    """
    product: Tensor = _HoistedProduct.apply(inputs, V, bias)  # type: ignore[no-untyped-call]
    return product


class _HoistedProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, V: Tensor, bias: Tensor | None) -> Tensor:
        steps, pack, batch, size = inputs.shape
        flat = inputs.transpose(0, 1).reshape(pack, steps * batch, size)
        products = reused_as(inputs, pack, steps * batch, V.shape[1])
        for slot in range(pack):
            factors = flat[slot], V[slot].mT
            if bias is None:
                torch.mm(*factors, out=products[slot])
            else:
                torch.addmm(bias[slot], *factors, out=products[slot])
        ctx.save_for_backward(flat, V)
        return products.view(pack, steps, batch, -1).transpose(0, 1)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, given: Tensor
    ) -> tuple[Tensor | None, ...]:
        flat, V = ctx.saved_tensors
        leading = given.transpose(0, 1)
        slots = leading.flatten(1, 2)
        by_inputs = by_weight = by_bias = None
        if ctx.needs_input_grad[0]:
            by_flat = reused_as(flat)
            for slot, gradient in enumerate(slots):
                torch.mm(gradient, V[slot], out=by_flat[slot])
            by_inputs = by_flat.view(*leading.shape[:3], -1).transpose(0, 1)
        if ctx.needs_input_grad[1]:
            by_weight = weight_gradient(leading, flat.view(*leading.shape[:3], -1))
        if ctx.needs_input_grad[2]:
            by_bias = row_sums(slots)
        return by_inputs, by_weight, by_bias


def weight_gradient(
    by_preactivation: Tensor, multiplied: Tensor, precision: Precision = "float32"
) -> Tensor:
    """Gradient of W in ``z = W h``, summed over all steps and the batch.

    Args:
        by_preactivation: the loss's gradient by z, shape (P, T, B, G).
        multiplied: h, shape (P, T, B, H).
        precision: of the two factors.

    Returns:
        Shape (P, G, H).
    """
    pairs = zip(by_preactivation.flatten(1, 2), multiplied.flatten(1, 2), strict=True)
    return torch.stack(
        [torch.mm(factor(gradient, precision).mT, factor(h, precision)) for gradient, h in pairs]
    )
