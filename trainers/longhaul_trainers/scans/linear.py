"""The linear scan: h_t = A_t h_{t-1} + b_t, unit by unit.

Dimensions: T steps, P slots, B sequences in a batch, N units of k numbers each.

A unit is one number (k = 1, A_t a number) or a pair (k = 2, A_t a 2 x 2 matrix): a complex number
or the position and velocity of an oscillator. Complex numbers are pairs because the kernels of
complex multiplication round the tail of a vector loop otherwise than the rest, and a trial's bits
would depend on its neighbours. Everything here is made of sums and products of real numbers, which
are exactly rounded, so the whole pack runs at once.

There are four ways to compute it. Compiled, one pass does all steps; it is for a CPU and needs a
compiler. Written with torch, the loop does T steps one after the other and touches every number
once. The tree combines neighbouring steps (associativity: first A then A' is A'A) in log2 T rounds
of large operations: two to three times the arithmetic in far fewer calls. They are equal up to
rounding. Measured on one thread of a CPU (float32, T from 100 to 784, forward and backward), the
tree takes a third of the loop's time or less for steps of 1000 numbers B N k, both about the same
between 2000 and 4000, and the loop a half to two thirds of the tree's from 16000 on. So
where nothing is compiled, `linear_scan` takes the loop on a CPU unless the step is small; and the
tree on other devices, where the number of calls is what counts. Fused, one Triton kernel does all
steps of a pack on a CUDA device, each number once.

The backward pass is written out: with g_t the loss's gradient by h_t, all paths included,
g_t = dL/dh_t + A_{t+1}^T g_{t+1} is a linear scan that runs backwards, and
dL/db_t = g_t, dL/dA_t = g_t h_{t-1}^T.

Reference: Blelloch, "Prefix Sums and Their Applications", CMU-CS-90-190, 1990, section 1.4.
"""

from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from longhaul_trainers.memory import reused_as
from longhaul_trainers.scans.fused import library as fused
from longhaul_trainers.scans.fused.linear import run_linear
from longhaul_trainers.scans.native.library import call, serves
from longhaul_trainers.scans.slotwise import row_sums

Order = Literal["auto", "compiled", "fused", "loop", "tree"]
SMALL_STEP = 2048
"""Numbers of one step of a pack's slot below which the tree is faster than the loop on a CPU."""


def linear_scan(
    coefficients: Tensor, inputs: Tensor, initial: Tensor, order: Order = "auto"
) -> Tensor:
    """The states of all steps of h_t = a_t h_{t-1} + b_t; differentiable once in everything.

    Args:
        coefficients: a, shape (T, P, B, N), or (P, N) where it is the same at every step.
        inputs: b, shape (T, P, B, N).
        initial: the state before the first step, shape (P, B, N).
        order: ``compiled``, ``fused``, ``loop``, ``tree``, or whichever is likely to be fastest.

    Returns:
        Shape (T, P, B, N), a view: copy before changing it in place.
    """
    if coefficients.dim() == 2:
        coefficients = coefficients[None, :, None]
    matrices = coefficients[..., None, None, :]
    return _scan(matrices, inputs.unsqueeze(-2), initial.unsqueeze(-2), order).squeeze(-2)


def pair_scan(matrices: Tensor, inputs: Tensor, initial: Tensor, order: Order = "auto") -> Tensor:
    """The states of all steps where each unit is a pair, and each coefficient a 2 x 2 matrix.

    Args:
        matrices: A, shape (T, P, B, 2, 2, N), or (P, 2, 2, N) where it is the same at every step.
        inputs: b, shape (T, P, B, 2, N).
        initial: the state before the first step, shape (P, B, 2, N).
        order: as for `linear_scan`.

    Returns:
        Shape (T, P, B, 2, N), a view: copy before changing it in place.
    """
    if matrices.dim() == 4:
        matrices = matrices[None, :, None]
    return _scan(matrices, inputs, initial, order)


def complex_matrices(real: Tensor, imaginary: Tensor) -> Tensor:
    """Complex coefficients as `pair_scan` takes them: [[Re, -Im], [Im, Re]].

    Args:
        real: shape (..., N).
        imaginary: shape (..., N).

    Returns:
        Shape (..., 2, 2, N), for pairs (Re h, Im h).
    """
    rows = torch.stack([real, -imaginary], -2), torch.stack([imaginary, real], -2)
    return torch.stack(rows, -3)


def _scan(matrices: Tensor, inputs: Tensor, initial: Tensor, order: Order) -> Tensor:
    if order == "auto" and serves(initial) and _is_compiled(matrices, inputs):
        order = "compiled"
    if order == "auto" and fused.serves(initial):
        order = "fused"
    if order == "auto":
        # Only the size of one slot decides, so that a trial's bits do not depend on its neighbours.
        small = initial[0].numel() < SMALL_STEP
        order = "tree" if small or inputs.device.type != "cpu" else "loop"
    scanned: Tensor = _LinearScan.apply(  # type: ignore[no-untyped-call]
        matrices, inputs, initial, order
    )
    return scanned


def _is_compiled(matrices: Tensor, inputs: Tensor) -> bool:
    """Whether the coefficients, (T or 1, P, B or 1, ...), are shared as linear.cpp knows it."""
    steps, _, batch = matrices.shape[:3]
    return (steps, batch) in {(1, 1), (1, inputs.shape[2]), (inputs.shape[0], inputs.shape[2])}


class _LinearScan(torch.autograd.Function):
    """All buffers have the slots first: (P, T, B, k, N), the matrices (P, T or 1, B or 1, ...)."""

    @staticmethod
    def forward(
        ctx: Any, matrices: Tensor, inputs: Tensor, initial: Tensor, order: Order
    ) -> Tensor:
        matrices = matrices.transpose(0, 1)
        pack, steps = initial.shape[0], inputs.shape[0]
        states = reused_as(inputs, pack, steps + 1, *initial.shape[1:])
        states[:, 0] = initial
        if order == "compiled":
            matrices = matrices.contiguous()
            leading = inputs.transpose(0, 1).contiguous()
            call("linear_forward", states.flatten(3), *_layout(matrices), matrices, leading, states)
        else:
            states[:, 1:] = inputs.transpose(0, 1)
            _run(matrices, states, order)
        ctx.order = order
        ctx.save_for_backward(matrices, states)
        return states[:, 1:].transpose(0, 1)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, output_gradient: Tensor
    ) -> tuple[Tensor | None, ...]:
        matrices, states = ctx.saved_tensors
        if ctx.order == "compiled":
            by_outputs = output_gradient.transpose(0, 1).contiguous()
            return _compiled_backward(matrices, states, by_outputs, ctx.needs_input_grad[0])
        adjoint = matrices.transpose(-3, -2)
        # In reverse order: the gradients by h_T, ..., h_1 and by the initial state.
        gradients = reused_as(states).zero_()
        gradients[:, :-1] = output_gradient.flip(0).transpose(0, 1)
        if adjoint.shape[1] > 1:
            adjoint = adjoint.flip(1)
        _run(adjoint, gradients, ctx.order)
        gradients = gradients.flip(1)
        by_matrices = None
        if ctx.needs_input_grad[0]:
            by_matrices = _matrix_gradient(gradients[:, 1:], states[:, :-1], matrices)
        return by_matrices, gradients[:, 1:].transpose(0, 1), gradients[:, 0], None


def _layout(matrices: Tensor) -> tuple[int, int, int]:
    """The size of a unit, and the numbers of steps and rows that have coefficients of their own."""
    return matrices.shape[-2], matrices.shape[1], matrices.shape[2]


def _compiled_backward(
    matrices: Tensor, states: Tensor, by_outputs: Tensor, wanted: bool
) -> tuple[Tensor | None, Tensor, Tensor, None]:
    by_inputs = reused_as(by_outputs)
    by_initial = torch.empty_like(states[:, 0], memory_format=torch.contiguous_format)
    (pack, steps, rows), batch = matrices.shape[:3], states.shape[2]
    by_matrices = reused_as(matrices, pack, steps if wanted else 0, batch, *matrices.shape[3:])
    given = (matrices, states, by_outputs, by_inputs, by_initial, by_matrices)
    call("linear_backward", states.flatten(3), *_layout(matrices), int(wanted), *given)
    if wanted and rows == 1 != batch:
        by_matrices = row_sums(by_matrices.squeeze(1))[:, None, None]
    return (
        by_matrices.transpose(0, 1) if wanted else None,
        by_inputs.transpose(0, 1),
        by_initial,
        None,
    )


def _run(matrices: Tensor, states: Tensor, order: Order) -> None:
    """Overwrites (P, T + 1, B, k, N), the initial state and then b, by the states."""
    if order == "fused":
        run_linear(matrices, states)
        return
    if order == "tree":
        states[:, 1] += _apply(matrices[:, 0], states[:, 0])
        _combine(matrices, states[:, 1:])
        return
    size, steps = states.shape[-2], states.shape[1] - 1
    columns = [matrices[..., j, :].unbind(1) for j in range(size)]
    if matrices.shape[1] == 1:
        columns = [column * steps for column in columns]
    rows = [states[..., j : j + 1, :].unbind(1) for j in range(size)]
    product = torch.empty_like(states[:, 0])
    # The multiplication and the addition apart: an operation that does both may round differently
    # in the tail of a vector loop.
    for step, current in enumerate(states.unbind(1)[1:]):
        for column, row in zip(columns, rows, strict=True):
            torch.mul(column[step], row[step], out=product)
            current.add_(product)


def _combine(matrices: Tensor, states: Tensor) -> None:
    """Overwrites b of all steps (P, T, ...) by the states that start from 0, in log2 T rounds."""
    steps = states.shape[1]
    if steps == 1:
        return
    same = matrices.shape[1] == 1
    # Two steps as one: at odd places b becomes A b_before + b.
    first, second = states[:, 0 : steps - 1 : 2], states[:, 1::2]
    after = matrices if same else matrices[:, 1::2]
    before = matrices if same else matrices[:, 0 : steps - 1 : 2]
    second += _apply(after, first)
    _combine(_compose(after, before), second)
    # Between them: one step from the state before.
    between = states[:, 2::2]
    if between.shape[1]:
        onto = matrices if same else matrices[:, 2::2]
        between += _apply(onto, second[:, : between.shape[1]])


def _apply(matrices: Tensor, states: Tensor) -> Tensor:
    """A h: (..., k, k, N) and (..., k, N) give (..., k, N)."""
    product = matrices[..., 0, :] * states[..., :1, :]
    for j in range(1, matrices.shape[-2]):
        product += matrices[..., j, :] * states[..., j : j + 1, :]
    return product


def _compose(after: Tensor, before: Tensor) -> Tensor:
    """The products of two matrices, shape (..., k, k, N)."""
    product = after[..., :1, :] * before[..., :1, :, :]
    for j in range(1, after.shape[-2]):
        product += after[..., j : j + 1, :] * before[..., j : j + 1, :, :]
    return product


def _matrix_gradient(gradients: Tensor, before: Tensor, matrices: Tensor) -> Tensor:
    """The sum of g h^T over all that a matrix serves, of the shape that the caller gave."""
    shared = [axis - 1 for axis in (1, 2) if matrices.shape[axis] == 1]
    # Slot by slot: a sum over a pack may add up in another order than over one slot.
    products = []
    for gradient, state in zip(gradients, before, strict=True):
        product = gradient.unsqueeze(-2) * state.unsqueeze(-3)
        products.append(product.sum(shared, keepdim=True) if shared else product)
    return torch.stack(products).transpose(0, 1)
