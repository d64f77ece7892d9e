"""The scan of the long expressive memory: two leaky states whose step sizes are gates.

Dimensions: T steps, P slots, B sequences in a batch, H hidden units. Gates in the order
dt1, dt2, z, y. Written out forward and backward, with buffers in the layout explained in
`scans.elman`.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from longhaul_trainers.memory import reused_as
from longhaul_trainers.scans.inputs import weight_gradient
from longhaul_trainers.scans.native.library import call, serves


def lem_scan(
    recurrent: Tensor,
    inner: Tensor,
    inputs: Tensor,
    initial: Tensor,
    initial_inner: Tensor,
    *,
    dt: Tensor,
) -> tuple[Tensor, Tensor]:
    """Outputs y of all steps and the last inner state; differentiable once in all but ``dt``.

    A step is, with the input products u::

        z' = z + d2 * (tanh(W_z y + u_z) - z),   d2 = dt * sigmoid(W_2 y + u_2)
        y' = y + d1 * (tanh(W_y z' + u_y) - y),  d1 = dt * sigmoid(W_1 y + u_1)

    Args:
        recurrent: W_1, W_2 and W_z, shape (P, 3H, H).
        inner: W_y, shape (P, H, H).
        inputs: u of all four, biases included, shape (T, P, B, 4H).
        initial: y before the first step, shape (P, B, H).
        initial_inner: z before the first step, shape (P, B, H).
        dt: shape (P,).

    Returns:
        y of every step, shape (T, P, B, H), a view; and the last z, shape (P, B, H).
    """
    scanned: tuple[Tensor, Tensor] = _LEMScan.apply(  # type: ignore[no-untyped-call]
        recurrent, inner, inputs, initial, initial_inner, dt
    )
    return scanned


class _LEMScan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        recurrent: Tensor,
        inner: Tensor,
        inputs: Tensor,
        initial: Tensor,
        initial_inner: Tensor,
        dt: Tensor,
    ) -> tuple[Tensor, Tensor]:
        steps, pack, batch, _ = inputs.shape
        leading = inputs.transpose(0, 1)
        gates = reused_as(leading).copy_(leading)
        outputs = reused_as(inputs, pack, steps + 1, batch, initial.shape[-1])
        inners = reused_as(outputs)
        outputs[:, 0], inners[:, 0] = initial, initial_inner
        if serves(outputs):
            weights = (recurrent.contiguous(), inner.contiguous(), dt.contiguous())
            call("lem_forward", outputs, *weights, gates, outputs, inners)
        else:
            _advance(recurrent, inner, dt, gates, outputs, inners)
        ctx.save_for_backward(recurrent, inner, dt, gates, outputs, inners)
        return outputs[:, 1:].transpose(0, 1), inners[:, -1].clone()

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, output_gradient: Tensor, last_inner_gradient: Tensor
    ) -> tuple[Tensor | None, ...]:
        recurrent, inner, dt, gates, outputs, inners = ctx.saved_tensors
        size = outputs.shape[-1]
        by_outputs = reused_as(outputs).zero_()
        by_outputs[:, 1:] = output_gradient.transpose(0, 1)
        by_inner = last_inner_gradient.clone(memory_format=torch.contiguous_format)
        by_gates = reused_as(gates)
        kept = (gates, outputs, inners)
        if serves(outputs):
            weights = (recurrent.contiguous(), inner.contiguous(), dt.contiguous())
            call("lem_backward", outputs, *weights, *kept, by_outputs, by_inner, by_gates)
        else:
            _pull_back(recurrent, inner, dt, kept, by_outputs, by_inner, by_gates)
        return (
            weight_gradient(by_gates[..., : 3 * size], outputs[:, :-1]),
            weight_gradient(by_gates[..., 3 * size :], inners[:, 1:]),
            by_gates.transpose(0, 1),
            by_outputs[:, 0],
            by_inner,
            None,
        )


def _advance(
    recurrent: Tensor, inner: Tensor, dt: Tensor, gates: Tensor, outputs: Tensor, inners: Tensor
) -> None:
    """As ``lem_forward`` in native/lem.cpp."""
    size, rate = outputs.shape[-1], dt[:, None, None]
    transposed, inner_transposed = recurrent.mT.contiguous(), inner.mT.contiguous()
    y, z = outputs.unbind(1), inners.unbind(1)
    three, both = gates[..., : 3 * size].unbind(1), gates[..., : 2 * size].unbind(1)
    d1, d2, inner_candidate, candidate = (one.unbind(1) for one in gates.chunk(4, -1))
    for step in range(len(three)):
        three[step].baddbmm_(y[step], transposed)
        both[step].sigmoid_().mul_(rate)
        inner_candidate[step].tanh_()
        torch.lerp(z[step], inner_candidate[step], d2[step], out=z[step + 1])
        candidate[step].baddbmm_(z[step + 1], inner_transposed).tanh_()
        torch.lerp(y[step], candidate[step], d1[step], out=y[step + 1])


def _pull_back(
    recurrent: Tensor,
    inner: Tensor,
    dt: Tensor,
    kept: tuple[Tensor, Tensor, Tensor],
    by_outputs: Tensor,
    by_inner: Tensor,
    by_gates: Tensor,
) -> None:
    """As ``lem_backward`` in native/lem.cpp."""
    gates, outputs, inners = kept
    size = outputs.shape[-1]
    d1, d2, inner_candidates, candidates = gates.chunk(4, -1)
    # By which y's gradient (for d1 and y's candidate) and z's (for the two between) are multiplied
    # to give those of the four products.
    factors = reused_as(gates).unflatten(-1, (4, size))
    into_d1, into_d2, into_inner_candidate, into_candidate = factors.unbind(-2)
    torch.sub(candidates, outputs[:, :-1], out=into_d1).mul_(d1)
    torch.sub(inner_candidates, inners[:, :-1], out=into_d2).mul_(d2)
    closed = gates[..., : 2 * size] / dt[:, None, None, None]
    factors[..., :2, :].mul_(closed.neg_().add_(1).unflatten(-1, (2, size)))
    torch.mul(inner_candidates, inner_candidates, out=into_inner_candidate)
    into_inner_candidate.neg_().add_(1).mul_(d2)
    torch.mul(candidates, candidates, out=into_candidate).neg_().add_(1).mul_(d1)
    keep_y, keep_z = (keep.unbind(1) for keep in (1 - gates[..., : 2 * size]).chunk(2, -1))
    of_output, of_inner = factors[..., ::3, :].unbind(1), factors[..., 1:3, :].unbind(1)
    split = by_gates.view_as(factors)
    by_outer, by_between = split[..., ::3, :].unbind(1), split[..., 1:3, :].unbind(1)
    by_three, by_candidate = by_gates[..., : 3 * size].unbind(1), split[..., 3, :].unbind(1)
    by_y = by_outputs.unbind(1)
    for step in range(len(by_three) - 1, -1, -1):
        torch.mul(by_y[step + 1].unsqueeze(2), of_output[step], out=by_outer[step])
        by_inner.baddbmm_(by_candidate[step], inner)
        torch.mul(by_inner.unsqueeze(2), of_inner[step], out=by_between[step])
        by_inner.mul_(keep_z[step])
        by_y[step].addcmul_(by_y[step + 1], keep_y[step])
        by_y[step].baddbmm_(by_three[step], recurrent)
