"""Losses over what counts, where sequences of different lengths are padded to one.

S steps, B sequences, O outputs. Whole-number targets (S, B) that do not count are `IGNORED`, other
targets (S, B, O) are NaN. Nothing counted gives 0, with a gradient of 0.

A slot's targets in a pack are not contiguous. A sum adds in the order of its operands' memory, so
they are made so first: else a slot's bits would depend on its neighbours.
"""

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.nn.functional import cross_entropy as torch_cross_entropy

from longhaul_trainers.tasks.base import IGNORED


def counted(targets: Tensor) -> Tensor:
    """Which targets count, a mask of the same shape."""
    return ~targets.isnan() if targets.is_floating_point() else targets != IGNORED


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean cross entropy in nats over the counted steps, for logits (S, B, O)."""
    flat = targets.flatten()
    total = torch_cross_entropy(outputs.flatten(0, -2), flat, ignore_index=IGNORED, reduction="sum")
    return total / counted(flat).sum().clamp(min=1)


def accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Share of the counted steps at which the largest logit (S, B, O) names the target."""
    named = (outputs.argmax(-1) == targets) & counted(targets)
    return named.sum() / counted(targets).sum().clamp(min=1)


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean squared error over the counted numbers."""
    targets = targets.contiguous()
    mask = counted(targets)
    # NaN is taken out before it meets the outputs: 0 times its gradient would be NaN again.
    error = torch.where(mask, outputs - torch.where(mask, targets, 0.0), 0.0)
    return error.square().sum() / mask.sum().clamp(min=1)


def frame_likelihood(outputs: Tensor, targets: Tensor) -> Tensor:
    """Negative log-likelihood of frames of bits in nats: summed over a frame, mean over frames.

    Args:
        outputs: logits (S, B, O) of each bit being 1.
        targets: 0 and 1, (S, B, O); a frame that does not count is all NaN.
    """
    targets = targets.contiguous()
    mask = counted(targets)
    costs = binary_cross_entropy_with_logits(
        outputs, torch.where(mask, targets, 0.0), reduction="none"
    )
    return torch.where(mask, costs, 0.0).sum() / mask[..., 0].sum().clamp(min=1)
