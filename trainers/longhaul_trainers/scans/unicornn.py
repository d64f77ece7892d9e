"""The scan of uncoupled oscillators: z' = z - d (tanh(w y + u_t) + alpha y), y' = y + d z'.

Dimensions: T steps, P slots, B sequences in a batch, H oscillators.

Written out forward and backward, with buffers in the layout explained in `scans.elman`. All
products are elementwise. The step is symplectic, so that states could be computed backwards instead
of being kept; they are kept, which is exact.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from longhaul_trainers.memory import reused_as
from longhaul_trainers.scans.native.library import call, serves
from longhaul_trainers.scans.slotwise import row_sums


def unicornn_scan(
    recurrent: Tensor,
    step_sizes: Tensor,
    inputs: Tensor,
    initial: Tensor,
    initial_velocity: Tensor,
    *,
    alpha: Tensor,
) -> tuple[Tensor, Tensor]:
    """Positions of all steps and the last velocities; differentiable once in all but ``alpha``.

    Args:
        recurrent: w, shape (P, H).
        step_sizes: d, shape (P, H).
        inputs: u, the input products, bias included, shape (T, P, B, H).
        initial: y before the first step, shape (P, B, H).
        initial_velocity: z before the first step, shape (P, B, H).
        alpha: shape (P,).

    Returns:
        y of every step, shape (T, P, B, H), a view; and the last z, shape (P, B, H).
    """
    scanned: tuple[Tensor, Tensor] = _UnICORNNScan.apply(  # type: ignore[no-untyped-call]
        recurrent, step_sizes, inputs, initial, initial_velocity, alpha
    )
    return scanned


class _UnICORNNScan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        recurrent: Tensor,
        step_sizes: Tensor,
        inputs: Tensor,
        initial: Tensor,
        initial_velocity: Tensor,
        alpha: Tensor,
    ) -> tuple[Tensor, Tensor]:
        steps, pack, batch, size = inputs.shape
        positions = reused_as(inputs, pack, steps + 1, batch, size)
        velocities = reused_as(positions)
        positions[:, 0], velocities[:, 0] = initial, initial_velocity
        leading = inputs.transpose(0, 1)
        if serves(positions):
            forces = reused_as(leading)
            given = _contiguous(alpha, recurrent, step_sizes, leading)
            call("unicornn_forward", positions, *given, forces, positions, velocities)
            ctx.save_for_backward(recurrent, step_sizes, positions, velocities, forces, alpha)
            return positions[:, 1:].transpose(0, 1), velocities[:, -1].clone()
        forces = reused_as(positions)[:, 1:].copy_(leading)
        w, d = recurrent.unsqueeze(1), step_sizes.unsqueeze(1)
        pull = -d * alpha[:, None, None]
        push = -d
        y, z, force = positions.unbind(1), velocities.unbind(1), forces.unbind(1)
        for step in range(1, steps + 1):
            pushed = force[step - 1].addcmul_(y[step - 1], w).tanh_()
            torch.addcmul(z[step - 1], pushed, push, out=z[step])
            z[step].addcmul_(y[step - 1], pull)
            torch.addcmul(y[step - 1], z[step], d, out=y[step])
        ctx.save_for_backward(recurrent, step_sizes, positions, velocities, forces, alpha)
        return positions[:, 1:].transpose(0, 1), z[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, output_gradient: Tensor, last_velocity_gradient: Tensor
    ) -> tuple[Tensor | None, ...]:
        recurrent, step_sizes, positions, velocities, forces, alpha = ctx.saved_tensors
        pull_back = _compiled_pull_back if serves(positions) else _pull_back
        by_recurrent, by_step_sizes, by_inputs, *by_initial = pull_back(
            recurrent,
            step_sizes,
            positions,
            velocities,
            forces,
            alpha,
            output_gradient.transpose(0, 1),
            last_velocity_gradient,
        )
        return by_recurrent, by_step_sizes, by_inputs.transpose(0, 1), *by_initial, None


def _contiguous(*tensors: Tensor) -> tuple[Tensor, ...]:
    return tuple(one.contiguous() for one in tensors)


def _compiled_pull_back(
    recurrent: Tensor,
    step_sizes: Tensor,
    positions: Tensor,
    velocities: Tensor,
    forces: Tensor,
    alpha: Tensor,
    by_outputs: Tensor,
    by_last_velocity: Tensor,
) -> tuple[Tensor, ...]:
    """The gradients by w, d, the inputs and the first position and velocity."""
    by_inputs = reused_as(forces)
    by_velocity = by_last_velocity.clone(memory_format=torch.contiguous_format)
    by_position, by_w, by_d = by_velocity.new_empty(3, *by_velocity.shape).unbind()
    given = _contiguous(alpha, recurrent, step_sizes, forces, positions, velocities, by_outputs)
    found = (by_inputs, by_position, by_velocity, by_w, by_d)
    call("unicornn_backward", positions, *given, *found)
    return row_sums(by_w), row_sums(by_d), by_inputs, by_position, by_velocity


def _pull_back(
    recurrent: Tensor,
    step_sizes: Tensor,
    positions: Tensor,
    velocities: Tensor,
    forces: Tensor,
    alpha: Tensor,
    by_outputs: Tensor,
    by_last_velocity: Tensor,
) -> tuple[Tensor, ...]:
    """As `_compiled_pull_back`."""
    w, d = recurrent[:, None, None], step_sizes[:, None, None]
    stiffness = alpha[:, None, None, None]
    # By which z's gradient is multiplied to give that by u, and its part of that by y.
    into_inputs = (forces * forces - 1) * d
    into_positions = into_inputs * w - d * stiffness
    by_positions, by_velocities = reused_as(positions), reused_as(positions)
    by_positions[:, 0] = 0
    by_positions[:, 1:] = by_outputs
    by_velocities[:, -1] = by_last_velocity
    by_y, by_z = by_positions.unbind(1), by_velocities.unbind(1)
    into_y, rate = into_positions.unbind(1), step_sizes.unsqueeze(1)
    for step in range(len(by_y) - 1, 0, -1):
        # Complete at last: by z of this step; what is left of it goes on to the step before.
        by_z[step].addcmul_(by_y[step], rate)
        by_z[step - 1].copy_(by_z[step])
        by_y[step - 1].add_(by_y[step]).addcmul_(by_z[step], into_y[step - 1])
    by_inputs = by_velocities[:, 1:] * into_inputs
    by_step_sizes = by_positions[:, 1:] * velocities[:, 1:]
    by_step_sizes -= by_velocities[:, 1:] * (forces + stiffness * positions[:, :-1])
    return (
        _sums(by_inputs * positions[:, :-1]),
        _sums(by_step_sizes),
        by_inputs,
        by_positions[:, 0],
        by_velocities[:, 0],
    )


def _sums(terms: Tensor) -> Tensor:
    """Sums over steps and batch, shape (P, H); slot by slot, so that their order is one."""
    return torch.stack([one.flatten(0, 1).sum(0) for one in terms])
