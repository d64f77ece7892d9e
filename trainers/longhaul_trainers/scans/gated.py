"""Scans of gated cells: one product with the state, then a function of each unit.

Dimensions: T steps, P slots, B sequences in a batch, H hidden units. A cell has G recurrent
products, I input products, K parameters of each unit and S states, of which the first is h.

On a CPU a cell that native/gated.cpp knows runs compiled; everywhere else as it is written with
torch, differentiated by autograd.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from longhaul_trainers.memory import reused_as
from longhaul_trainers.scans.inputs import weight_gradient
from longhaul_trainers.scans.native.library import call, serves
from longhaul_trainers.scans.slotwise import row_sums
from longhaul_trainers.scans.stepwise import State, Step, stepwise_scan


@dataclass(frozen=True)
class GatedKind:
    """What native/gated.cpp knows of a cell.

    Attributes:
        code: its number there.
        products: G.
        added: how many of the products have an input product added to them, the first ones.
        step: the same equations with torch. Its parameters are U^T (P, H, G H) and the units'
            parameters (P, K, H).
    """

    code: int
    products: int
    added: int
    step: Step


def gated_scan(
    kind: GatedKind, recurrent: Tensor, units: Tensor, inputs: Tensor, initial: State
) -> tuple[Tensor, State]:
    """The outputs of all steps and the last state; differentiable once in everything.

    Args:
        kind: the cell.
        recurrent: U, shape (P, G H, H).
        units: shape (P, K, H).
        inputs: the input products, shape (T, P, B, I H).
        initial: the state before the first step, S tensors of shape (P, B, H).

    Returns:
        h of every step, shape (T, P, B, H), and the state after the last.
    """
    if not serves(initial[0]):
        transposed = recurrent.mT.contiguous()
        return stepwise_scan(kind.step, (transposed, units), inputs, initial)
    outputs, *others = _GatedScan.apply(  # type: ignore[no-untyped-call]
        kind, recurrent, units, inputs, *initial
    )
    return outputs, (outputs[-1], *others)


class _GatedScan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        kind: GatedKind,
        recurrent: Tensor,
        units: Tensor,
        inputs: Tensor,
        *initial: Tensor,
    ) -> tuple[Tensor, ...]:
        steps, pack, batch, _ = inputs.shape
        count, size = len(initial), initial[0].shape[-1]
        states = reused_as(inputs, pack, steps + 1, batch, count * size)
        torch.cat(initial, -1, out=states[:, 0])
        products = reused_as(inputs, pack, steps, batch, kind.products * size)
        given = [one.contiguous() for one in (recurrent, units, inputs.transpose(0, 1))]
        sizes = states[..., :size]
        call("gated_forward", sizes, kind.code, *given, products, states)
        ctx.kind = kind
        ctx.save_for_backward(*given, products, states)
        hidden, *others = states[:, 1:].transpose(0, 1).split(size, -1)
        return hidden, *(one[-1].clone() for one in others)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, output_gradient: Tensor, *last_gradients: Tensor
    ) -> tuple[Tensor | None, ...]:
        recurrent, units, inputs, products, states = ctx.saved_tensors
        kind: GatedKind = ctx.kind
        pack, steps, batch, _ = inputs.shape
        size = units.shape[-1]
        by_outputs = output_gradient.transpose(0, 1).contiguous()
        by_state = torch.cat([torch.zeros_like(by_outputs[:, 0]), *last_gradients], -1)
        by_products = reused_as(products)
        added = kind.added * size
        by_others = reused_as(inputs, pack, steps, batch, inputs.shape[-1] - added)
        by_units = reused_as(units, pack, batch, *units.shape[1:])
        given = (recurrent, units, inputs, products, states, by_outputs)
        found = (by_products, by_others, by_units, by_state)
        call("gated_backward", states[..., :size], kind.code, *given, *found)
        by_inputs = by_products
        if by_others.shape[-1]:
            by_inputs = torch.cat([by_products[..., :added], by_others], -1)
        by_recurrent = torch.zeros_like(recurrent)
        if kind.products:
            by_recurrent = weight_gradient(by_products, states[:, :-1, :, :size])
        return (
            None,
            by_recurrent,
            row_sums(by_units),
            by_inputs.transpose(0, 1),
            *by_state.split(size, -1),
        )
