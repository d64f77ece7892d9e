"""The leaky scan: h' = a h + A h + g phi(W h + z_t).

Dimensions: T steps, P slots, B sequences in a batch, H hidden units.

Written out forward and backward, with buffers in the layout explained in `scans.elman`: all have
shape (P, T + 1, B, H), so that those of two slots are never adjacent. The state is not the
nonlinearity's output here, so both are kept.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from longhaul_trainers.memory import reused_as
from longhaul_trainers.nonlinearities import Nonlinearity, Pullback
from longhaul_trainers.precision import Precision, factor
from longhaul_trainers.scans.fused.elman import Leak, fused_elman
from longhaul_trainers.scans.inputs import weight_gradient
from longhaul_trainers.scans.native.leaky import CompiledLeaky, LeakyGradients, compiled_leaky


def leaky_scan(
    recurrent: Tensor,
    inputs: Tensor,
    initial: Tensor,
    phi: Nonlinearity,
    *,
    gain: Tensor,
    keep: Tensor | None = None,
    linear: Tensor | None = None,
    precision: Precision = "float32",
) -> Tensor:
    """Hidden states of all steps; differentiable once in every tensor and phi's parameters.

    Args:
        recurrent: W, shape (P, H, H), for column vectors h.
        inputs: z, the input products, shape (T, P, B, H).
        initial: the state before the first step, shape (P, B, H).
        phi: the nonlinearity.
        gain: g, shape (P,).
        keep: a, shape (P,); None: 1.
        linear: A, shape (P, H, H); None: 0.
        precision: of the factors of all products with W and A.

    Returns:
        Shape (T, P, B, H), a view: copy before changing it in place.
    """
    scanned: Tensor = _LeakyScan.apply(  # type: ignore[no-untyped-call]
        phi, precision, recurrent, inputs, initial, gain, keep, linear, *phi.parameters()
    )
    return scanned


class _LeakyScan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        phi: Nonlinearity,
        precision: Precision,
        recurrent: Tensor,
        inputs: Tensor,
        initial: Tensor,
        gain: Tensor,
        keep: Tensor | None,
        linear: Tensor | None,
        *_parameters: Tensor,
    ) -> Tensor:
        steps, pack, batch, size = inputs.shape
        states = reused_as(inputs, pack, steps + 1, batch, size)
        states[:, 0] = initial
        activations = reused_as(states)
        ctx.phi, ctx.precision = phi, precision
        leak = Leak(gain, keep, linear)
        in_one_call = compiled_leaky(phi, states, precision, leak) or fused_elman(
            phi, states, precision, leak
        )
        if in_one_call is not None:
            products = inputs.transpose(0, 1).contiguous()
            in_one_call.forward(recurrent.contiguous(), products, states, activations)
            ctx.save_for_backward(recurrent, states, activations, activations, gain, keep, linear)
            return states[:, 1:].transpose(0, 1)
        activations[:, 1:] = inputs.transpose(0, 1)
        kept = reused_as(states) if phi.keeps_inputs else activations
        apply = phi.in_place()
        transposed = factor(recurrent, precision).mT.contiguous()
        linear_transposed = None
        if linear is not None:
            linear_transposed = factor(linear, precision).mT.contiguous()
        g, a = gain[:, None, None], None if keep is None else keep[:, None, None]
        h, activation, before = states.unbind(1), activations.unbind(1), kept.unbind(1)
        for step in range(1, steps + 1):
            current, read = activation[step], factor(h[step - 1], precision)
            current.baddbmm_(read, transposed)
            if phi.keeps_inputs:
                before[step].copy_(current)
            apply(current)
            if a is None:
                torch.addcmul(h[step - 1], current, g, out=h[step])
            else:
                torch.mul(h[step - 1], a, out=h[step]).addcmul_(current, g)
            if linear_transposed is not None:
                h[step].baddbmm_(read, linear_transposed)
        ctx.save_for_backward(recurrent, states, activations, kept, gain, keep, linear)
        return states[:, 1:].transpose(0, 1)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, output_gradient: Tensor
    ) -> tuple[Tensor | None, ...]:
        recurrent, states, activations, kept, gain, keep, linear = ctx.saved_tensors
        precision = ctx.precision
        pullback = ctx.phi.pullback(kept[:, 1:])
        leak = Leak(gain, keep, linear)
        compiled = compiled_leaky(ctx.phi, states, precision, leak)
        if compiled is not None:
            given = (recurrent, states, activations, output_gradient.transpose(0, 1))
            found = _compiled_pull_back(compiled, given, ctx.needs_input_grad)
            return (
                None,
                None,
                found.recurrent,
                found.inputs.transpose(0, 1),
                found.initial,
                found.gain,
                found.keep,
                found.linear,
                *pullback.parameter_gradients(found.inputs.flatten(1, 2)),
            )
        by_states = reused_as(states)
        by_states[:, 0] = 0
        by_states[:, 1:] = output_gradient.transpose(0, 1)
        by_inputs = reused_as(states)
        fused = fused_elman(ctx.phi, states, precision, leak)
        if fused is not None:
            fused.backward(recurrent, activations, by_states, by_inputs)
        else:
            _pull_back(pullback, recurrent, leak, by_states, by_inputs, precision)
        after, before = by_states[:, 1:], states[:, :-1]
        wanted = ctx.needs_input_grad
        return (
            None,
            None,
            weight_gradient(by_inputs[:, 1:], before, precision),
            by_inputs[:, 1:].transpose(0, 1),
            by_states[:, 0],
            _inner_products(after, activations[:, 1:]) if wanted[5] else None,
            _inner_products(after, before) if wanted[6] else None,
            weight_gradient(after, before, precision) if wanted[7] else None,
            *pullback.parameter_gradients(by_inputs[:, 1:].flatten(1, 2)),
        )


def _compiled_pull_back(
    compiled: CompiledLeaky, given: tuple[Tensor, Tensor, Tensor, Tensor], wanted: Sequence[bool]
) -> LeakyGradients:
    """From W, the states, the activations and the gradients by the outputs (P, T, B, H)."""
    recurrent, states, activations, by_outputs = given
    leak = compiled.leak

    def room(index: int, like: Tensor | None) -> Tensor | None:
        """Memory for the gradient by argument `index` of the scan."""
        return None if like is None or not wanted[index] else like.new_empty(like.shape)

    found = LeakyGradients(
        inputs=reused_as(by_outputs),
        initial=states.new_empty(states[:, 0].shape),
        recurrent=room(2, recurrent),
        gain=room(5, leak.gain),
        keep=room(6, leak.keep),
        linear=room(7, leak.linear),
    )
    matrix, by_outputs = recurrent.contiguous(), by_outputs.contiguous()
    compiled.backward(matrix, states, activations, by_outputs, found)
    return found


def _pull_back(
    pullback: Pullback,
    recurrent: Tensor,
    leak: Leak,
    by_states: Tensor,
    by_inputs: Tensor,
    precision: Precision,
) -> None:
    matrix = factor(recurrent, precision)
    linear = None if leak.linear is None else factor(leak.linear, precision)
    g, a = leak.gain[:, None, None], None if leak.keep is None else leak.keep[:, None, None]
    by_h, by_z = by_states.unbind(1), by_inputs.unbind(1)
    for step in range(len(by_h) - 1, 0, -1):
        torch.mul(by_h[step], g, out=by_z[step])
        pullback.step(step - 1, by_z[step])
        if a is None:
            by_h[step - 1].add_(by_h[step])
        else:
            by_h[step - 1].addcmul_(by_h[step], a)
        if linear is not None:
            by_h[step - 1].baddbmm_(factor(by_h[step], precision), linear)
        by_h[step - 1].baddbmm_(factor(by_z[step], precision), matrix)


def _inner_products(left: Tensor, right: Tensor) -> Tensor:
    """The sum of the products of all entries of each slot, shape (P,)."""
    return torch.stack([(one * other).sum() for one, other in zip(left, right, strict=True)])
