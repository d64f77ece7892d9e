"""The Elman scan with input product and linear readout: h' = phi(W h + V x + b), y = h K + k.

Dimensions: T steps, P slots, B sequences in a batch, I inputs, H hidden units, O classes.

Where the compiled scan is used, every state is read while it is in cache, and on the way back the
gradients by the states are made, and used up, a step at a time: neither they nor what makes them
is ever stored for all steps, only the states themselves. Where the last state alone is read, its
gradient is all that comes from outside.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from longhaul_trainers.nonlinearities import Nonlinearity
from longhaul_trainers.precision import Precision
from longhaul_trainers.readout import Readout
from longhaul_trainers.scans.driven_elman import driven_elman_scan
from longhaul_trainers.scans.native.elman import (
    Drive,
    ElmanGradients,
    Given,
    Reading,
    compiled_elman,
)


def read_elman_scan(
    recurrent: Tensor,
    inputs: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    initial: Tensor,
    phi: Nonlinearity,
    readout: Readout,
    precision: Precision = "float32",
) -> tuple[Tensor, Tensor]:
    """What is read of the hidden states; differentiable once in every tensor and parameter.

    Args:
        recurrent: W, shape (P, H, H), for column vectors h.
        inputs: x, shape (T, P, B, I).
        weight: V, shape (P, H, I).
        bias: b, shape (P, H), or None.
        initial: the state before the first step, shape (P, B, H).
        phi: the nonlinearity.
        readout: K and k, and whether every step is read.
        precision: of the factors of all products with W.

    Returns:
        The readouts (P, S, B, O) of the S steps that are read, and the last state (P, B, H).
    """
    driven = (recurrent, inputs, weight, bias, initial)
    if inputs.requires_grad or compiled_elman(phi, initial, precision) is None:
        hidden = driven_elman_scan(*driven, phi, precision)
        return readout(hidden), hidden[-1]
    parameters = tuple(phi.parameters())
    if readout.last_only:
        _, last = _ReadElmanScan.apply(phi, *driven, None, None, *parameters)  # type: ignore[no-untyped-call]
        return readout(last.unsqueeze(0)), last
    outputs, last = _ReadElmanScan.apply(  # type: ignore[no-untyped-call]
        phi, *driven, readout.weight, readout.bias, *parameters
    )
    return outputs, last


class _ReadElmanScan(torch.autograd.Function):
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
    ) -> tuple[Tensor | None, Tensor]:
        steps, pack, batch, _ = inputs.shape
        states = initial.new_empty(pack, steps + 1, batch, initial.shape[2])
        states[:, 0] = initial
        ctx.compiled = compiled_elman(phi, states)
        if ctx.compiled is None:
            raise RuntimeError("there is no compiled scan of this nonlinearity")
        x = inputs.transpose(0, 1).contiguous()
        drive = Drive(x, weight.contiguous(), None if bias is None else bias.contiguous())
        recurrent = recurrent.contiguous()
        reading = None
        if readout_weight is not None and readout_bias is not None:
            read = states.new_empty(pack, steps, batch, readout_weight.shape[2])
            reading = Reading(readout_weight.contiguous(), readout_bias.contiguous(), read)
        ctx.compiled.forward(recurrent, drive, states, reading)
        kept = (None, None) if reading is None else (reading.weight, reading.bias)
        ctx.save_for_backward(recurrent, x, drive.weight, drive.bias, states, *kept)
        ctx.set_materialize_grads(False)
        return None if reading is None else reading.outputs, states[:, -1].clone()

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, by_outputs: Tensor | None, by_last: Tensor | None
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
        given = Given(last=None if by_last is None else by_last.contiguous())
        ctx.compiled.backward(recurrent, states, given, found, Drive(x, weight, bias), reading)
        return None, *made, *[found.parameter] * len(wanted[7:])


def _gradient(like: Tensor | None, wanted: bool) -> Tensor | None:
    """Memory for a gradient of this shape, where it is wanted."""
    return like.new_empty(like.shape) if wanted and like is not None else None
