"""The Elman scan with its input product: h' = phi(W h + V x_t + b).

Dimensions: T steps, P slots, B sequences in a batch, I inputs, H hidden units.

Where the compiled scan is used, V x + b is made step by step while the state is in cache, and so
are the gradients by V and b: neither the products of all steps nor their gradients, each as large
as the states, are ever stored.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from longhaul_trainers.memory import reused_as
from longhaul_trainers.nonlinearities import Nonlinearity
from longhaul_trainers.precision import Precision
from longhaul_trainers.scans.elman import elman_scan
from longhaul_trainers.scans.inputs import hoisted_input_product
from longhaul_trainers.scans.native.elman import (
    Drive,
    ElmanGradients,
    Given,
    Reading,
    compiled_elman,
)


def driven_elman_scan(
    recurrent: Tensor,
    inputs: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    initial: Tensor,
    phi: Nonlinearity,
    precision: Precision = "float32",
) -> Tensor:
    """Hidden states of all steps; differentiable once in every tensor and phi's parameters.

    Args:
        recurrent: W, shape (P, H, H), for column vectors h.
        inputs: x, shape (T, P, B, I).
        weight: V, shape (P, H, I).
        bias: b, shape (P, H), or None.
        initial: the state before the first step, shape (P, B, H).
        phi: the nonlinearity.
        precision: of the factors of all products with W.

    Returns:
        Shape (T, P, B, H), a view: copy before changing it in place.
    """
    if not inputs.requires_grad and compiled_elman(phi, initial, precision) is not None:
        driven = (recurrent, inputs, weight, bias, initial)
        hidden: Tensor
        hidden, _, _ = DrivenElmanScan.apply(phi, *driven, None, None, *phi.parameters())  # type: ignore[no-untyped-call]
        return hidden
    products = hoisted_input_product(inputs, weight, bias)
    return elman_scan(recurrent, products, initial, phi, precision)


class DrivenElmanScan(torch.autograd.Function):
    """The compiled scan: all states, what is read of them, and the last one.

    Whoever applies it uses the states or the other two, never both: where there are gradients by
    all states, that by the last is among them.
    """

    @staticmethod
    def forward(
        ctx: Any,
        phi: Nonlinearity,
        recurrent: Tensor,
        inputs: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        initial: Tensor,
        readout_weight: Tensor | None,
        readout_bias: Tensor | None,
        *_parameters: Tensor,
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        steps, pack, batch, _ = inputs.shape
        states = reused_as(initial, pack, steps + 1, batch, initial.shape[2])
        states[:, 0] = initial
        ctx.compiled = compiled_elman(phi, states)
        if ctx.compiled is None:
            raise RuntimeError("there is no compiled scan of this nonlinearity")
        x = inputs.transpose(0, 1).contiguous()
        drive = Drive(x, weight.contiguous(), None if bias is None else bias.contiguous())
        recurrent = recurrent.contiguous()
        reading = None
        if readout_weight is not None and readout_bias is not None:
            read = reused_as(states, pack, steps, batch, readout_weight.shape[2])
            reading = Reading(readout_weight.contiguous(), readout_bias.contiguous(), read)
        ctx.compiled.forward(recurrent, drive, states, reading)
        kept = (None, None) if reading is None else (reading.weight, reading.bias)
        ctx.save_for_backward(recurrent, x, drive.weight, drive.bias, states, *kept)
        ctx.set_materialize_grads(False)
        hidden, last = states[:, 1:].transpose(0, 1), states[:, -1].clone()
        return hidden, None if reading is None else reading.outputs, last

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, by_hidden: Tensor | None, by_outputs: Tensor | None, by_last: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        recurrent, x, weight, bias, states, readout_weight, readout_bias = ctx.saved_tensors
        wanted = ctx.needs_input_grad[1:]
        like = (recurrent, x, weight, bias, states[:, 0], readout_weight, readout_bias)
        made = [_gradient(one, needed) for one, needed in zip(like, wanted, strict=False)]
        by_recurrent, _, by_weight, by_bias, by_initial, by_readout_weight, by_readout_bias = made
        reading = None
        if by_outputs is not None and readout_weight is not None:
            reading = Reading(readout_weight, readout_bias, by_outputs.contiguous())
        elif readout_weight is not None:  # nothing that was read counts
            by_readout_weight, by_readout_bias = made[5:] = [None, None]
        found = ElmanGradients(
            recurrent=by_recurrent,
            weight=by_weight,
            bias=by_bias,
            parameter=torch.empty_like(ctx.compiled.parameter) if any(wanted[7:]) else None,
            initial=by_initial,
            readout_weight=by_readout_weight,
            readout_bias=by_readout_bias,
        )
        given = Given(
            states=None if by_hidden is None else by_hidden.transpose(0, 1).contiguous(),
            last=None if by_last is None else by_last.contiguous(),
        )
        ctx.compiled.backward(recurrent, states, given, found, Drive(x, weight, bias), reading)
        return None, *made, *[found.parameter] * len(wanted[7:])


def _gradient(like: Tensor | None, wanted: bool) -> Tensor | None:
    """Memory for a gradient of this shape, where it is wanted."""
    return like.new_empty(like.shape) if wanted and like is not None else None
