"""The linear readout of the states of all steps, and the mean cross entropy of its classes.

Dimensions: S steps that are read, P slots, B sequences in a batch, H units, O classes.

With ten classes neither does what makes torch's matmul and softmax fast, and each keeps several
tensors as large as the states; on a CPU both are compiled, with torch's functions behind them.
A slot's bits depend neither on its neighbours nor on the number of threads.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import cross_entropy

from longhaul_trainers.memory import reused_as
from longhaul_trainers.scans.native.library import TYPES, call, run, serves
from longhaul_trainers.threads import threads_for_scans


@dataclass(frozen=True)
class Readout:
    """y = h K + k of every step, or of the last alone.

    Attributes:
        weight: K, shape (P, H, O).
        bias: k, shape (P, 1, O).
        last_only: whether only the last step is read.
    """

    weight: Tensor
    bias: Tensor
    last_only: bool = False

    def __call__(self, hidden: Tensor) -> Tensor:
        """The readouts (P, S, B, O) of states (T, P, B, H), S = 1 or T."""
        return linear_readout(hidden[-1:] if self.last_only else hidden, self.weight, self.bias)


def linear_readout(hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Y = h K + k of every step; differentiable once.

    Args:
        hidden: h, shape (S, P, B, H).
        weight: K, shape (P, H, O).
        bias: k, shape (P, 1, O).

    Returns:
        Shape (P, S, B, O).
    """
    steps, pack, batch, size = hidden.shape
    if serves(hidden) and hidden.dtype == weight.dtype:
        read: Tensor = _LinearReadout.apply(  # type: ignore[no-untyped-call]
            hidden, weight, bias
        )
        return read
    # One product a slot over all steps; the slots lead, so that each one's part is contiguous.
    flat = hidden.transpose(0, 1).reshape(pack, steps * batch, size)
    if flat.is_cuda:
        read = torch.baddbmm(bias, flat, weight)
    else:
        # With one output, the batched product of one slot adds up otherwise than of several.
        slots = zip(bias, flat, weight, strict=True)
        read = torch.stack([torch.addmm(*slot) for slot in slots])
    return read.reshape(pack, steps, batch, -1)


def mean_cross_entropy(logits: Tensor, targets: Tensor, ignored: int) -> Tensor:
    """Mean cost in nats over the rows that count, a scalar; differentiable once.

    Args:
        logits: shape (N, O).
        targets: whole numbers, shape (N,).
        ignored: the target of rows that do not count.

    Raises:
        IndexError: a target is none of the classes.
    """
    if serves(logits) and targets.dtype == torch.int64:
        loss: Tensor = _MeanCrossEntropy.apply(  # type: ignore[no-untyped-call]
            logits, targets, ignored
        )
        return loss
    return cross_entropy(logits, targets, ignore_index=ignored)


class _LinearReadout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        leading = _rows_together(hidden.transpose(0, 1))
        pack, steps, batch, _ = leading.shape
        weight = weight.contiguous()
        read = reused_as(leading, pack, steps, batch, weight.shape[2])
        call("readout_forward", leading, *_place(leading, weight), weight, bias.contiguous(), read)
        ctx.save_for_backward(leading, weight)
        return read

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, given: Tensor
    ) -> tuple[Tensor | None, ...]:
        leading, weight = ctx.saved_tensors
        by_hidden = reused_as(leading) if ctx.needs_input_grad[0] else None
        by_weight = torch.empty_like(weight)
        by_bias = weight.new_empty(len(weight), 1, weight.shape[2])
        gradients = (by_hidden, by_weight, by_bias)
        place = _place(leading, weight)
        call("readout_backward", leading, *place, weight, given.contiguous(), *gradients)
        return None if by_hidden is None else by_hidden.transpose(0, 1), by_weight, by_bias


def _rows_together(leading: Tensor) -> Tensor:
    """The same (P, S, B, H), copied if the rows of a slot do not follow each other in memory."""
    _, _, batch, size = leading.shape
    if leading.stride()[1:] == (batch * size, size, 1):
        return leading
    return leading.contiguous()


def _place(leading: Tensor, weight: Tensor) -> tuple[int, int, int]:
    """Number of classes, where the states lie, and how far apart two slots are."""
    return weight.shape[2], leading.data_ptr(), leading.stride(0)


class _MeanCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor, ignored: int) -> Tensor:
        logits, targets = logits.contiguous(), targets.contiguous()
        loss, gradient = logits.new_empty(()), reused_as(logits)
        numbers = (*logits.shape, threads_for_scans())
        name = f"cross_entropy_{TYPES[logits.dtype]}"
        sound = run(name, *numbers, logits, targets, ignored, loss, gradient)
        if not sound:
            raise IndexError(f"a target is none of the {logits.shape[1]} classes")
        ctx.save_for_backward(gradient)
        return loss

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, given: Tensor
    ) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        # A loss of its own is given a 1, and a pass over all logits saved.
        return gradient if given.item() == 1 else gradient * given, None, None
