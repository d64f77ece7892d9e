"""The GRU scan, for packs.

Dimensions: T steps, P slots, B sequences in a batch, H hidden units. Gates in the order r, z, n.
Written out forward and backward, with buffers in the layout explained in `scans.elman`.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from longhaul_trainers.memory import reused_as
from longhaul_trainers.precision import Precision, factor
from longhaul_trainers.scans.inputs import weight_gradient
from longhaul_trainers.scans.native.library import call, serves


def gru_scan(
    recurrent: Tensor,
    bias: Tensor,
    inputs: Tensor,
    initial: Tensor,
    precision: Precision = "float32",
) -> Tensor:
    """Hidden states of all steps; differentiable once in every argument.

    Args:
        recurrent: U, shape (P, 3H, H).
        bias: b_hn, the bias that the reset gate acts on, shape (P, H).
        inputs: the input products of the three gates, biases included, shape (T, P, B, 3H).
        initial: the state before the first step, shape (P, B, H).
        precision: of the factors of all products with U.

    Returns:
        Shape (T, P, B, H), a view: copy before changing it in place.
    """
    scanned: Tensor = _GRUScan.apply(  # type: ignore[no-untyped-call]
        precision, recurrent, bias, inputs, initial
    )
    return scanned


class _GRUScan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        precision: Precision,
        recurrent: Tensor,
        bias: Tensor,
        inputs: Tensor,
        initial: Tensor,
    ) -> Tensor:
        ctx.precision = precision
        steps, pack, batch, _ = inputs.shape
        size = initial.shape[-1]
        hidden = reused_as(inputs, pack, steps + 1, batch, size)
        hidden[:, 0] = initial
        candidates = reused_as(inputs, pack, steps, batch, size)
        leading = inputs.transpose(0, 1)
        if precision == "float32" and serves(hidden):
            gates = reused_as(leading)
            given = (recurrent.contiguous(), bias.contiguous(), leading.contiguous())
            call("gru_forward", hidden, *given, gates, candidates, hidden)
            ctx.save_for_backward(recurrent, gates, candidates, hidden)
            return hidden[:, 1:].transpose(0, 1)
        gates = reused_as(leading).copy_(leading)
        transposed = factor(recurrent, precision).mT.contiguous()
        bias = bias.unsqueeze(1)
        h, candidate = hidden.unbind(1), candidates.unbind(1)
        both = gates[..., : 2 * size].unbind(1)
        r, z, n = (gate.unbind(1) for gate in gates.chunk(3, -1))
        for step in range(steps):
            product = torch.bmm(factor(h[step], precision), transposed)
            both[step].add_(product[..., : 2 * size]).sigmoid_()
            torch.add(product[..., 2 * size :], bias, out=candidate[step])
            n[step].add_(r[step] * candidate[step]).tanh_()
            torch.sub(h[step], n[step], out=h[step + 1]).mul_(z[step]).add_(n[step])
        ctx.save_for_backward(recurrent, gates, candidates, hidden)
        return hidden[:, 1:].transpose(0, 1)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, output_gradient: Tensor
    ) -> tuple[Tensor | None, ...]:
        recurrent, gates, candidates, hidden = ctx.saved_tensors
        given = (recurrent, gates, candidates, hidden, output_gradient.transpose(0, 1))
        if ctx.precision == "float32" and serves(hidden):
            found = _compiled_pull_back(*given)
        else:
            found = _pull_back(ctx.precision, *given)
        by_recurrent, by_candidates, by_inputs, by_initial = found
        # Slot by slot: the order in which one sum over the pack adds up depends on P.
        by_bias = torch.stack([one.flatten(0, 1).sum(0) for one in by_candidates])
        return None, by_recurrent, by_bias, by_inputs.transpose(0, 1), by_initial


def _compiled_pull_back(
    recurrent: Tensor, gates: Tensor, candidates: Tensor, hidden: Tensor, by_outputs: Tensor
) -> tuple[Tensor, ...]:
    """The gradients by U, by U_n h + b_hn, by the inputs and by the initial state."""
    size = hidden.shape[-1]
    by_inputs, by_candidates = reused_as(gates), reused_as(candidates)
    by_initial = torch.empty_like(hidden[:, 0], memory_format=torch.contiguous_format)
    given = (recurrent.contiguous(), gates, candidates, hidden, by_outputs.contiguous())
    call("gru_backward", hidden, *given, by_inputs, by_candidates, by_initial)
    before = hidden[:, :-1]
    parts = [
        weight_gradient(by_inputs[..., : 2 * size], before),
        weight_gradient(by_candidates, before),
    ]
    return torch.cat(parts, 1), by_candidates, by_inputs, by_initial


def _pull_back(
    precision: Precision,
    recurrent: Tensor,
    gates: Tensor,
    candidates: Tensor,
    hidden: Tensor,
    by_outputs: Tensor,
) -> tuple[Tensor, ...]:
    """As `_compiled_pull_back`."""
    matrix = factor(recurrent, precision)
    size = hidden.shape[-1]
    r, z, n = gates.chunk(3, -1)
    into_n = (1 - z) * (1 - n * n)
    # By which h's gradient is multiplied to give those of the three recurrent products.
    stacked = reused_as(gates).view(*r.shape[:3], 3, size)
    torch.mul(into_n * candidates * r, 1 - r, out=stacked[..., 0, :])
    torch.mul((hidden[:, :-1] - n) * z, 1 - z, out=stacked[..., 1, :])
    torch.mul(into_n, r, out=stacked[..., 2, :])
    factors = stacked.unbind(1)
    by_hidden = reused_as(hidden).zero_()
    by_hidden[:, 1:] = by_outputs
    h, update = by_hidden.unbind(1), z.unbind(1)
    by_products = reused_as(gates)
    product = by_products.unbind(1)
    split = by_products.view(*r.shape[:3], 3, size).unbind(1)
    for step in range(len(factors) - 1, -1, -1):
        torch.mul(h[step + 1].unsqueeze(2), factors[step], out=split[step])
        h[step].add_(h[step + 1] * update[step])
        h[step].baddbmm_(factor(product[step], precision), matrix)
    by_inputs = by_products.clone()
    torch.mul(by_hidden[:, 1:], into_n, out=by_inputs[..., 2 * size :])
    by_recurrent = weight_gradient(by_products, hidden[:, :-1], precision)
    return by_recurrent, by_products[..., 2 * size :], by_inputs, by_hidden[:, 0]
