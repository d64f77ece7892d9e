"""The Elman scan in bfloat16 where it is compiled; `scans.elman` has the one written with torch."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from longhaul_trainers.memory import reused_as
from longhaul_trainers.nonlinearities import Nonlinearity
from longhaul_trainers.scans.native.rounded_elman import (
    CompiledRoundedElman,
    rounded_weight_gradient,
)


def rounded_elman_scan(
    compiled: CompiledRoundedElman,
    recurrent: Tensor,
    inputs: Tensor,
    initial: Tensor,
    phi: Nonlinearity,
) -> Tensor:
    """As `elman_scan`, whose other arguments these are."""
    scanned: Tensor = _RoundedElmanScan.apply(  # type: ignore[no-untyped-call]
        compiled, phi, recurrent, inputs, initial, *phi.parameters()
    )
    return scanned


class _RoundedElmanScan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        compiled: CompiledRoundedElman,
        phi: Nonlinearity,
        recurrent: Tensor,
        inputs: Tensor,
        initial: Tensor,
        *_parameters: Tensor,
    ) -> Tensor:
        steps, pack, batch, size = inputs.shape
        states = reused_as(inputs, pack, steps + 1, batch, size)
        states[:, 0] = initial
        compiled.forward(recurrent.contiguous(), inputs.transpose(0, 1).contiguous(), states)
        ctx.compiled, ctx.phi = compiled, phi
        ctx.save_for_backward(recurrent, states)
        return states[:, 1:].transpose(0, 1)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, output_gradient: Tensor
    ) -> tuple[Tensor | None, ...]:
        recurrent, states = ctx.saved_tensors
        gradients = reused_as(states)
        gradients[:, 0] = 0
        gradients[:, 1:] = output_gradient.transpose(0, 1)
        ctx.compiled.backward(recurrent.contiguous(), states, gradients)
        wanted = ctx.needs_input_grad
        by_phi = ()
        if any(wanted[5:]):
            pullback = ctx.phi.pullback(states[:, 1:])
            by_phi = pullback.parameter_gradients(gradients[:, 1:].flatten(1, 2))
        return (
            None,
            None,
            rounded_weight_gradient(gradients, states) if wanted[2] else None,
            gradients[:, 1:].transpose(0, 1),
            gradients[:, 0],
            *by_phi,
        )
