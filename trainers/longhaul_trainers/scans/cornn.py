"""The scan of coupled oscillators: z' = k z + c y + f tanh(W [y, z] + u_t), y' = y + dt z'.

Dimensions: T steps, P slots, B sequences in a batch, H oscillators.

Written out forward and backward, with buffers in the layout explained in `scans.elman`. Positions y
and velocities z lie side by side, so that one product serves both.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from longhaul_trainers.memory import reused_as
from longhaul_trainers.scans.inputs import weight_gradient
from longhaul_trainers.scans.native.library import call, serves


def cornn_scan(
    recurrent: Tensor,
    inputs: Tensor,
    initial: Tensor,
    initial_velocity: Tensor,
    *,
    keep: Tensor,
    pull: Tensor,
    push: Tensor,
    dt: Tensor,
) -> tuple[Tensor, Tensor]:
    """Positions of all steps and the last velocities.

    Differentiable once in the first four arguments; the others are numbers of each slot, (P,).

    Args:
        recurrent: W, shape (P, H, 2H), of which the first H columns meet y, the others z.
        inputs: u, the input products, bias included, shape (T, P, B, H).
        initial: y before the first step, shape (P, B, H).
        initial_velocity: z before the first step, shape (P, B, H).
        keep: k, by which a step multiplies the velocity.
        pull: c, by which it multiplies the position; below 0 for a spring.
        push: f, by which it multiplies the force.
        dt: the step size of the position.

    Returns:
        y of every step, shape (T, P, B, H), a view; and the last z, shape (P, B, H).
    """
    scanned: tuple[Tensor, Tensor] = _CoRNNScan.apply(  # type: ignore[no-untyped-call]
        recurrent, inputs, initial, initial_velocity, keep, pull, push, dt
    )
    return scanned


class _CoRNNScan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        recurrent: Tensor,
        inputs: Tensor,
        initial: Tensor,
        initial_velocity: Tensor,
        *numbers: Tensor,
    ) -> tuple[Tensor, Tensor]:
        steps, pack, batch, size = inputs.shape
        states = reused_as(inputs, pack, steps + 1, batch, 2 * size)
        states[:, 0, :, :size] = initial
        states[:, 0, :, size:] = initial_velocity
        forces = reused_as(inputs, pack, steps + 1, batch, size)
        forces[:, 1:] = inputs.transpose(0, 1)
        if serves(forces):
            given = (recurrent.contiguous(), *(one.contiguous() for one in numbers))
            call("cornn_forward", forces, *given, states, forces)
        else:
            _advance(recurrent, numbers, states, forces)
        ctx.save_for_backward(recurrent, states, forces, *numbers)
        return states[:, 1:, :, :size].transpose(0, 1), states[:, -1, :, size:].clone()

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, output_gradient: Tensor, last_velocity_gradient: Tensor
    ) -> tuple[Tensor | None, ...]:
        recurrent, states, forces, *numbers = ctx.saved_tensors
        size = forces.shape[-1]
        by_states = reused_as(states)
        by_states[:, 0, :, :size] = 0
        by_states[:, 1:, :, :size] = output_gradient.transpose(0, 1)
        by_states[:, -1, :, size:] = last_velocity_gradient
        by_inputs = reused_as(forces)
        if serves(forces):
            given = (recurrent.contiguous(), *(one.contiguous() for one in numbers))
            call("cornn_backward", forces, *given, forces, by_states, by_inputs)
        else:
            _pull_back(recurrent, numbers, forces, by_states, by_inputs)
        return (
            weight_gradient(by_inputs[:, 1:], states[:, :-1]),
            by_inputs[:, 1:].transpose(0, 1),
            by_states[:, 0, :, :size],
            by_states[:, 0, :, size:],
            *(None for _ in numbers),
        )


def _advance(recurrent: Tensor, numbers: Sequence[Tensor], states: Tensor, forces: Tensor) -> None:
    """As ``cornn_forward`` in native/cornn.cpp."""
    transposed = recurrent.mT.contiguous()
    keep, pull, push, dt = (one[:, None, None] for one in numbers)
    both, force = states.unbind(1), forces.unbind(1)
    y, z = (half.unbind(1) for half in states.chunk(2, -1))
    for step in range(1, len(both)):
        force[step].baddbmm_(both[step - 1], transposed).tanh_()
        torch.mul(z[step - 1], keep, out=z[step])
        z[step].addcmul_(y[step - 1], pull).addcmul_(force[step], push)
        torch.addcmul(y[step - 1], z[step], dt, out=y[step])


def _pull_back(
    recurrent: Tensor,
    numbers: Sequence[Tensor],
    forces: Tensor,
    by_states: Tensor,
    by_inputs: Tensor,
) -> None:
    """As ``cornn_backward`` in native/cornn.cpp."""
    keep, pull, push, dt = (one[:, None, None] for one in numbers)
    slopes = ((1 - forces * forces) * push.unsqueeze(1)).unbind(1)
    both, by_u = by_states.unbind(1), by_inputs.unbind(1)
    by_y, by_z = (half.unbind(1) for half in by_states.chunk(2, -1))
    for step in range(len(both) - 1, 0, -1):
        by_z[step].addcmul_(by_y[step], dt)
        torch.mul(by_z[step], slopes[step], out=by_u[step])
        by_y[step - 1].add_(by_y[step]).addcmul_(by_z[step], pull)
        torch.mul(by_z[step], keep, out=by_z[step - 1])
        both[step - 1].baddbmm_(by_u[step], recurrent)
