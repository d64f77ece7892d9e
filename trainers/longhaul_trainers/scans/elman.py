"""The Elman scan: h' = phi(W h + z_t).

Dimensions: T steps, P slots, B sequences in a batch, H hidden units.

Forward and backward are written out instead of being left to autograd, which for these small
matrices spends most of its time on bookkeeping: a step is one matmul and the nonlinearity forward,
one multiplication and one matmul backward; W's gradient is a single matmul over all steps.

All buffers have shape (P, T + 1, B, H). So the rows of one slot are contiguous, those of two slots
never adjacent, and no elementwise kernel runs over the border between two slots: where a vector
loop has its tail does not depend on the neighbours. With it a slot's last bits would, as
`torch.sigmoid` rounds the tail otherwise than the rest.

In bfloat16 every product with W, forward, backward and for W's gradient, reads its two factors
rounded; states and gradients themselves are kept as they are. Rounding counts as the identity in
the derivative.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from longhaul_trainers.memory import reused_as
from longhaul_trainers.nonlinearities import Nonlinearity, Pullback
from longhaul_trainers.precision import Precision, factor
from longhaul_trainers.scans.fused.elman import FusedElman, fused_elman
from longhaul_trainers.scans.inputs import weight_gradient
from longhaul_trainers.scans.native.elman import (
    CompiledElman,
    ElmanGradients,
    Given,
    compiled_elman,
)
from longhaul_trainers.scans.native.rounded_elman import compiled_rounded_elman
from longhaul_trainers.scans.recorded_elman import RecordedElman, recorded_elman
from longhaul_trainers.scans.rounded_elman import rounded_elman_scan


def elman_scan(
    recurrent: Tensor,
    inputs: Tensor,
    initial: Tensor,
    phi: Nonlinearity,
    precision: Precision = "float32",
) -> Tensor:
    """Hidden states of all steps; differentiable once in every tensor and phi's parameters.

    Args:
        recurrent: W, shape (P, H, H), for column vectors h.
        inputs: z, the input products, shape (T, P, B, H).
        initial: the state before the first step, shape (P, B, H).
        phi: the nonlinearity.
        precision: of the factors of all products with W.

    Returns:
        Shape (T, P, B, H), a view: copy before changing it in place.
    """
    if precision == "bfloat16":
        compiled = compiled_rounded_elman(phi, inputs)
        if compiled is not None:
            return rounded_elman_scan(compiled, recurrent, inputs, initial, phi)
    scanned: Tensor = _ElmanScan.apply(  # type: ignore[no-untyped-call]
        phi, precision, recurrent, inputs, initial, *phi.parameters()
    )
    return scanned


class _ElmanScan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        phi: Nonlinearity,
        precision: Precision,
        recurrent: Tensor,
        inputs: Tensor,
        initial: Tensor,
        *_parameters: Tensor,
    ) -> Tensor:
        steps, pack, batch, size = inputs.shape
        states = reused_as(inputs, pack, steps + 1, batch, size)
        states[:, 0] = initial
        ctx.phi, ctx.precision = phi, precision
        compiled = _in_one_call(phi, states, precision)
        if compiled is not None:
            compiled.forward(recurrent.contiguous(), inputs.transpose(0, 1).contiguous(), states)
            ctx.save_for_backward(recurrent, states, states)
            return states[:, 1:].transpose(0, 1)
        states[:, 1:] = inputs.transpose(0, 1)
        kept = reused_as(states) if phi.keeps_inputs else states
        transposed = factor(recurrent, precision).mT.contiguous()
        apply = phi.in_place()
        before = kept.unbind(1)
        for step, (previous, current) in enumerate(pairwise(states.unbind(1)), 1):
            current.baddbmm_(factor(previous, precision), transposed)
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
        precision = ctx.precision
        compiled = compiled_elman(ctx.phi, states, precision)
        if compiled is not None:
            given = output_gradient.transpose(0, 1).contiguous()
            wanted = ctx.needs_input_grad  # no time is spent on a fixed matrix
            found = ElmanGradients(
                recurrent=recurrent.new_empty(recurrent.shape) if wanted[2] else None,
                inputs=reused_as(given) if wanted[3] else None,
                initial=states.new_empty(states[:, 0].shape) if wanted[4] else None,
                parameter=torch.empty_like(compiled.parameter) if any(wanted[5:]) else None,
            )
            compiled.backward(recurrent.contiguous(), states, Given(given), found)
            by_inputs = None if found.inputs is None else found.inputs.transpose(0, 1)
            by_phi = [found.parameter] * (len(wanted) - 5)
            return None, None, found.recurrent, by_inputs, found.initial, *by_phi
        pullback = ctx.phi.pullback(kept[:, 1:])
        # At step t of this buffer: first the gradient by h_t, then the gradient by its z_t.
        gradients = reused_as(states)
        gradients[:, 0] = 0
        gradients[:, 1:] = output_gradient.transpose(0, 1)
        fused = _on_a_device(ctx.phi, states, precision)
        if fused is not None:
            fused.backward(recurrent.contiguous(), states, gradients)
        else:
            _pull_back(pullback, recurrent, gradients.unbind(1), precision)
        by_recurrent = None
        if ctx.needs_input_grad[2]:
            by_recurrent = weight_gradient(gradients[:, 1:], states[:, :-1], precision)
        return (
            None,
            None,
            by_recurrent,
            gradients[:, 1:].transpose(0, 1),
            gradients[:, 0],
            *pullback.parameter_gradients(gradients[:, 1:].flatten(1, 2)),
        )


def _in_one_call(
    phi: Nonlinearity, states: Tensor, precision: Precision
) -> CompiledElman | FusedElman | RecordedElman | None:
    """All steps as one call or few, where there is such a scan."""
    return compiled_elman(phi, states, precision) or _on_a_device(phi, states, precision)


def _on_a_device(
    phi: Nonlinearity, states: Tensor, precision: Precision
) -> FusedElman | RecordedElman | None:
    """The same of a CUDA device; the one that is recorded where the other is not for its size."""
    return fused_elman(phi, states, precision) or recorded_elman(phi, states, precision)


def _pull_back(
    pullback: Pullback, recurrent: Tensor, gradients: Sequence[Tensor], precision: Precision
) -> None:
    matrix = factor(recurrent, precision)
    for step in range(len(gradients) - 1, 0, -1):
        pullback.step(step - 1, gradients[step])
        gradients[step - 1].baddbmm_(factor(gradients[step], precision), matrix)
