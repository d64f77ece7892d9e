"""The diagonal scan: h' = phi(u * h + z_t), every unit with a weight of its own.

Dimensions: T steps, P slots, B sequences in a batch, H hidden units. Written out forward and
backward, with buffers in the layout explained in `scans.elman`.
"""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from longhaul_trainers.memory import reused_as
from longhaul_trainers.nonlinearities import Nonlinearity, Pullback
from longhaul_trainers.scans.fused.diagonal import FusedDiagonal, fused_diagonal
from longhaul_trainers.scans.native.diagonal import CompiledDiagonal, compiled_diagonal


def diagonal_scan(recurrent: Tensor, inputs: Tensor, initial: Tensor, phi: Nonlinearity) -> Tensor:
    """Hidden states of all steps; differentiable once in every tensor and phi's parameters.

    Args:
        recurrent: u, shape (P, H).
        inputs: z, the input products, shape (T, P, B, H).
        initial: the state before the first step, shape (P, B, H).
        phi: the nonlinearity.

    Returns:
        Shape (T, P, B, H), a view: copy before changing it in place.
    """
    scanned: Tensor = _DiagonalScan.apply(  # type: ignore[no-untyped-call]
        phi, recurrent, inputs, initial, *phi.parameters()
    )
    return scanned


class _DiagonalScan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        phi: Nonlinearity,
        recurrent: Tensor,
        inputs: Tensor,
        initial: Tensor,
        *_parameters: Tensor,
    ) -> Tensor:
        steps, pack, batch, size = inputs.shape
        states = reused_as(inputs, pack, steps + 1, batch, size)
        states[:, 0] = initial
        ctx.phi = phi
        compiled = _in_one_call(phi, states)
        if compiled is not None:
            compiled.forward(recurrent.contiguous(), inputs.transpose(0, 1).contiguous(), states)
            ctx.save_for_backward(recurrent, states, states)
            return states[:, 1:].transpose(0, 1)
        states[:, 1:] = inputs.transpose(0, 1)
        kept = reused_as(states) if phi.keeps_inputs else states
        weight, apply = recurrent.unsqueeze(1), phi.in_place()
        before = kept.unbind(1)
        for step, (previous, current) in enumerate(pairwise(states.unbind(1)), 1):
            current.addcmul_(previous, weight)
            if phi.keeps_inputs:
                before[step].copy_(current)
            apply(current)
        ctx.save_for_backward(recurrent, states, kept)
        return states[:, 1:].transpose(0, 1)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, output_gradient: Tensor
    ) -> tuple[Tensor | None, ...]:
        recurrent, states, kept = ctx.saved_tensors
        pullback = ctx.phi.pullback(kept[:, 1:])
        by_outputs = output_gradient.transpose(0, 1)
        compiled = _in_one_call(ctx.phi, states)
        if compiled is not None:
            by_inputs, by_initial, by_weight = compiled.backward(
                recurrent.contiguous(), states, by_outputs.contiguous()
            )
        else:
            by_inputs, by_initial, by_weight = _pull_back(pullback, recurrent, states, by_outputs)
        return (
            None,
            by_weight,
            by_inputs.transpose(0, 1),
            by_initial,
            *pullback.parameter_gradients(by_inputs.flatten(1, 2)),
        )


def _in_one_call(phi: Nonlinearity, states: Tensor) -> CompiledDiagonal | FusedDiagonal | None:
    """All steps as one call, on a CPU or a CUDA device, where there is such a scan."""
    return compiled_diagonal(phi, states) or fused_diagonal(phi, states)


def _pull_back(
    pullback: Pullback, recurrent: Tensor, states: Tensor, by_outputs: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients by z, by the initial state and by u."""
    weight = recurrent.unsqueeze(1)
    # At step t of this buffer: first the gradient by h_t, then the gradient by its z_t.
    gradients = reused_as(states)
    gradients[:, 0] = 0
    gradients[:, 1:] = by_outputs
    steps = gradients.unbind(1)
    for step in range(len(steps) - 1, 0, -1):
        pullback.step(step - 1, steps[step])
        steps[step - 1].addcmul_(steps[step], weight)
    # Slot by slot: the order in which one sum over the pack adds up depends on P.
    pairs = zip(gradients[:, 1:], states[:, :-1], strict=True)
    by_weight = [(gradient * h).flatten(0, 1).sum(0) for gradient, h in pairs]
    return gradients[:, 1:], gradients[:, 0], torch.stack(by_weight)
