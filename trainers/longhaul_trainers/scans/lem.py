"""The scan of the long expressive memory: two leaky states whose step sizes are gates.

Dimensions: T steps, P slots, B sequences in a batch, H hidden units. Gates in the order
dt1, dt2, z, y. Written out forward and backward, with buffers in the layout explained in
`scans.elman`.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from longhaul_trainers.scans.inputs import weight_gradient


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
        size = initial.shape[-1]
        gates = inputs.new_empty(pack, steps + 1, batch, 3 * size)
        gates[:, 1:] = inputs[..., : 3 * size].transpose(0, 1)
        candidates = inputs.new_empty(pack, steps + 1, batch, size)
        candidates[:, 1:] = inputs[..., 3 * size :].transpose(0, 1)
        outputs, inners = torch.empty_like(candidates), torch.empty_like(candidates)
        outputs[:, 0], inners[:, 0] = initial, initial_inner
        transposed, inner_transposed = recurrent.mT.contiguous(), inner.mT.contiguous()
        rate = dt[:, None, None]
        y, z, candidate, gate = (t.unbind(1) for t in (outputs, inners, candidates, gates))
        both = gates[..., : 2 * size].unbind(1)
        d1, d2, inner_candidate = (one.unbind(1) for one in gates.chunk(3, -1))
        for step in range(1, steps + 1):
            gate[step].baddbmm_(y[step - 1], transposed)
            both[step].sigmoid_().mul_(rate)
            inner_candidate[step].tanh_()
            torch.lerp(z[step - 1], inner_candidate[step], d2[step], out=z[step])
            candidate[step].baddbmm_(z[step], inner_transposed).tanh_()
            torch.lerp(y[step - 1], candidate[step], d1[step], out=y[step])
        ctx.save_for_backward(recurrent, inner, gates, candidates, outputs, inners, dt)
        return outputs[:, 1:].transpose(0, 1), z[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, output_gradient: Tensor, last_inner_gradient: Tensor
    ) -> tuple[Tensor | None, ...]:
        recurrent, inner, gates, candidates, outputs, inners, dt = ctx.saved_tensors
        gates, candidates = gates[:, 1:], candidates[:, 1:]
        steps, size = candidates.shape[1], candidates.shape[-1]
        d1, d2, inner_candidates = gates.chunk(3, -1)
        # By which y's gradient (for d1 and its candidate) and z's (for the others) are multiplied
        # to give those of the four products.
        factors = torch.empty_like(gates).unflatten(-1, (3, size))
        into_d1, into_d2, into_inner_candidate = factors.unbind(-2)
        torch.sub(candidates, outputs[:, :-1], out=into_d1).mul_(d1)
        torch.sub(inner_candidates, inners[:, :-1], out=into_d2).mul_(d2)
        closed = gates[..., : 2 * size] / dt[:, None, None, None]
        factors[..., :2, :].mul_(closed.neg_().add_(1).unflatten(-1, (2, size)))
        torch.mul(inner_candidates, inner_candidates, out=into_inner_candidate)
        into_inner_candidate.neg_().add_(1).mul_(d2)
        into_candidate = (candidates * candidates).neg_().add_(1).mul_(d1).unbind(1)
        into_d1, into_inner = into_d1.unbind(1), factors[..., 1:, :].unbind(1)
        keep_y, keep_z = (keep.unbind(1) for keep in (1 - gates[..., : 2 * size]).chunk(2, -1))
        by_outputs = torch.zeros_like(outputs)
        by_outputs[:, 1:] = output_gradient.transpose(0, 1)
        by_y = by_outputs.unbind(1)
        by_z = last_inner_gradient.clone(memory_format=torch.contiguous_format)
        by_products = output_gradient.new_empty(*gates.shape[:3], 4, size)
        by_gates = by_products[..., :3, :].flatten(-2)
        by_candidates = by_products[..., 3, :]
        by_gate, by_candidate = by_gates.unbind(1), by_candidates.unbind(1)
        split = by_products[..., :3, :]
        by_d1, by_inner = split[..., 0, :].unbind(1), split[..., 1:, :].unbind(1)
        for step in range(steps - 1, -1, -1):
            torch.mul(by_y[step + 1], into_candidate[step], out=by_candidate[step])
            torch.mul(by_y[step + 1], into_d1[step], out=by_d1[step])
            by_z.baddbmm_(by_candidate[step], inner)
            torch.mul(by_z.unsqueeze(2), into_inner[step], out=by_inner[step])
            by_z.mul_(keep_z[step])
            by_y[step].addcmul_(by_y[step + 1], keep_y[step])
            by_y[step].baddbmm_(by_gate[step], recurrent)
        return (
            weight_gradient(by_gates, outputs[:, :-1]),
            weight_gradient(by_candidates, inners[:, 1:]),
            by_products.flatten(-2).transpose(0, 1),
            by_outputs[:, 0],
            by_z,
            None,
        )
