"""Products over all steps at once, before or after a scan.

Slot by slot, not batched over the pack: a batched product of thin matrices takes another path for
one slot than for several, and a sum over the pack adds up in another order, so that a trial's last
bits would depend on its neighbours. A slot's product over all steps is large enough alone.
"""

import torch
from torch import Tensor

from longhaul_trainers.precision import Precision, factor


def hoisted_input_product(inputs: Tensor, V: Tensor, bias: Tensor | None = None) -> Tensor:
    """V x + b of every step in one matmul a slot, before the scan.

    Args:
        inputs: x, shape (T, P, B, I).
        V: shape (P, G, I), where G is H, or several times H for a gated cell.
        bias: b, shape (P, G).

    Returns:
        Shape (T, P, B, G); in memory the slots lead, as the scans want it.
    """
    steps, pack, batch, size = inputs.shape
    flat = inputs.transpose(0, 1).reshape(pack, steps * batch, size).unbind()
    weights = V.mT.unbind()
    if bias is None:
        products = [torch.mm(x, v) for x, v in zip(flat, weights, strict=True)]
    else:
        biases = bias.unbind()
        products = [torch.addmm(b, x, v) for b, x, v in zip(biases, flat, weights, strict=True)]
    return torch.stack(products).view(pack, steps, batch, V.shape[1]).transpose(0, 1)


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
