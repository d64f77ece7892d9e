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

from longhaul_trainers.nonlinearities import Nonlinearity
from longhaul_trainers.precision import Precision
from longhaul_trainers.scans.elman import elman_scan
from longhaul_trainers.scans.inputs import hoisted_input_product
from longhaul_trainers.scans.native.elman import (
    Drive,
    ElmanGradients,
    Given,
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
        scanned: Tensor = _DrivenElmanScan.apply(  # type: ignore[no-untyped-call]
            phi, precision, recurrent, inputs, weight, bias, initial, *phi.parameters()
        )
        return scanned
    products = hoisted_input_product(inputs, weight, bias)
    return elman_scan(recurrent, products, initial, phi, precision)


class _DrivenElmanScan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        phi: Nonlinearity,
        precision: Precision,
        recurrent: Tensor,
        inputs: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        initial: Tensor,
        *_parameters: Tensor,
    ) -> Tensor:
        steps, pack, batch, _ = inputs.shape
        states = initial.new_empty(pack, steps + 1, batch, initial.shape[2])
        states[:, 0] = initial
        compiled = compiled_elman(phi, states, precision)
        if compiled is None:
            raise RuntimeError("there is no compiled scan of this nonlinearity")
        x = inputs.transpose(0, 1).contiguous()
        drive = Drive(x, weight.contiguous(), None if bias is None else bias.contiguous())
        recurrent = recurrent.contiguous()
        compiled.forward(recurrent, drive, states)
        ctx.compiled = compiled
        ctx.save_for_backward(recurrent, x, drive.weight, drive.bias, states)
        return states[:, 1:].transpose(0, 1)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, output_gradient: Tensor
    ) -> tuple[Tensor | None, ...]:
        recurrent, x, weight, bias, states = ctx.saved_tensors
        _, _, by_recurrent, _, by_weight, by_bias, by_initial, *by_phi = ctx.needs_input_grad
        found = ElmanGradients(
            recurrent=torch.empty_like(recurrent) if by_recurrent else None,
            weight=torch.empty_like(weight) if by_weight else None,
            bias=torch.empty_like(bias) if by_bias else None,
            parameter=torch.empty_like(ctx.compiled.parameter) if any(by_phi) else None,
            initial=states.new_empty(states[:, 0].shape) if by_initial else None,
        )
        given = output_gradient.transpose(0, 1).contiguous()
        ctx.compiled.backward(recurrent, states, Given(given), found, Drive(x, weight, bias))
        gradients = (found.recurrent, None, found.weight, found.bias, found.initial)
        return None, None, *gradients, *[found.parameter] * len(by_phi)
