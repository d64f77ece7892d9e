"""Recurrences of each unit alone in Triton: diagonal with a nonlinearity, and linear.

Dimensions: T steps, P slots, B sequences in a batch, H or N units. One program takes LANES of the
numbers of one slot's step, or of its pairs, through all steps; what it carries stays in registers.
"""

import triton
import triton.language as tl

from longhaul_trainers.scans.fused.phi_kernels import phi, pulled_back


@triton.jit
def diagonal_forward(
    recurrent,  # u (P, H)
    parameters,  # of phi, (P, H)
    inputs,  # z (P, T, B, H)
    states,  # (P, T + 1, B, H), of which step 0 is given
    steps,
    batch,
    H,
    PHI: tl.constexpr,
    LANES: tl.constexpr,
):
    """H' = phi(u h + z)."""
    slot = tl.program_id(0).to(tl.int64)
    lane = tl.program_id(1) * LANES + tl.arange(0, LANES)
    size = batch * H
    inside = lane < size
    u = tl.load(recurrent + slot * H + lane % H, mask=inside)
    parameter = tl.load(parameters + slot * H + lane % H, mask=inside)
    inputs += slot * steps * size
    states += slot * (steps + 1) * size
    h = tl.load(states + lane, mask=inside, other=0.0)
    for _ in range(steps):
        h = phi(u * h + tl.load(inputs + lane, mask=inside, other=0.0), parameter, PHI)
        inputs += size
        states += size
        tl.store(states + lane, h, mask=inside)


@triton.jit
def diagonal_backward(
    recurrent,  # u (P, H)
    parameters,  # of phi, (P, H)
    states,  # (P, T + 1, B, H)
    by_outputs,  # (P, T, B, H)
    by_inputs,  # (P, T, B, H)
    by_initial,  # (P, B, H)
    by_weight,  # (P, B, H), of u in each sequence
    steps,
    batch,
    H,
    PHI: tl.constexpr,
    LANES: tl.constexpr,
):
    """The gradients by z, by the state before the first step, and by u."""
    slot = tl.program_id(0).to(tl.int64)
    lane = tl.program_id(1) * LANES + tl.arange(0, LANES)
    size = batch * H
    inside = lane < size
    u = tl.load(recurrent + slot * H + lane % H, mask=inside)
    parameter = tl.load(parameters + slot * H + lane % H, mask=inside)
    states += (slot * (steps + 1) + steps) * size
    by_outputs += (slot + 1) * steps * size
    by_inputs += (slot + 1) * steps * size
    h = tl.load(states + lane, mask=inside, other=0.0)
    # The gradient by h that later steps hand back, and u's so far.
    later = tl.full([LANES], 0.0, h.dtype)
    total = later
    for _ in range(steps):
        states -= size
        by_outputs -= size
        by_inputs -= size
        by_state = later + tl.load(by_outputs + lane, mask=inside, other=0.0)
        by_input = pulled_back(by_state, h, parameter, PHI)
        tl.store(by_inputs + lane, by_input, mask=inside)
        h = tl.load(states + lane, mask=inside, other=0.0)
        total += by_input * h
        later = by_input * u
    tl.store(by_initial + slot * size + lane, later, mask=inside)
    tl.store(by_weight + slot * size + lane, total, mask=inside)


@triton.jit
def linear(
    matrices,  # A (P, T or 1, B or 1, k, k, N) by its strides, 0 where it is the same
    states,  # (P, T + 1, B, k, N): the initial state, then b
    steps,
    batch,
    N,
    by_slot,
    by_step,
    by_sequence,
    by_row,
    by_column,
    by_unit,
    PAIR: tl.constexpr,
    LANES: tl.constexpr,
):
    """Overwrites b by h' = A h + b; k is 2 with PAIR, else 1."""
    slot = tl.program_id(0).to(tl.int64)
    lane = tl.program_id(1) * LANES + tl.arange(0, LANES)
    inside = lane < batch * N
    sequence, unit = lane // N, lane % N
    if PAIR:
        size = 2 * batch * N
        at = sequence * 2 * N + unit
    else:
        size = batch * N
        at = lane
    matrices += slot * by_slot
    states += slot * (steps + 1) * size
    entry = sequence * by_sequence + unit * by_unit
    x = tl.load(states + at, mask=inside, other=0.0)
    if PAIR:
        y = tl.load(states + at + N, mask=inside, other=0.0)
    for _ in range(steps):
        states += size
        xx = tl.load(matrices + entry, mask=inside, other=0.0)
        after = xx * x + tl.load(states + at, mask=inside, other=0.0)
        if PAIR:
            xy = tl.load(matrices + by_column + entry, mask=inside, other=0.0)
            yx = tl.load(matrices + by_row + entry, mask=inside, other=0.0)
            yy = tl.load(matrices + by_row + by_column + entry, mask=inside, other=0.0)
            after += xy * y
            y = yx * x + yy * y + tl.load(states + at + N, mask=inside, other=0.0)
            tl.store(states + at + N, y, mask=inside)
        x = after
        tl.store(states + at, x, mask=inside)
        matrices += by_step
