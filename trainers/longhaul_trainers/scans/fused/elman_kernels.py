"""h' = phi(W h + z_t) and h' = a h + A h + g phi(W h + z_t) in Triton, forward and backward.

Dimensions: T steps, P slots, B sequences in a batch, H hidden units; N is H padded to a power of 2.

One program takes ROWS sequences of one slot through all steps. In float32 each number of a product
W h is one chain of fused multiplications and additions over k = 0, 1, ..., H - 1, started from z,
so that its bits depend on nothing, neither on ROWS nor on the number of warps. The state of the
step before is read back from memory, where it has just been written and which the multiprocessor's
cache holds, because a program can read one column of it that way and not from its registers; rows
of W come out of the same cache. `tl.dot` on float32 inputs without rounding keeps whole rows and
columns in registers, which overflow at H = 128.

With BF16 the two factors of every product are rounded to bfloat16 and tensor cores add up in
float32; W then fits into the registers of the program and stays there from the first step to the
last.
"""

import triton
import triton.language as tl

from longhaul_trainers.scans.fused.phi_kernels import phi, pulled_back


@triton.jit
def add_product(total, columns, matrix, n, H: tl.constexpr, K: tl.constexpr):
    """total[m, n] + sum over k of columns[m, k] matrix[k, n]; K steps of k at a time.

    ``columns`` points at the first entry of each row m, ``matrix`` at that of the matrix (H, H).
    """
    for first in range(0, H, K):
        for j in tl.static_range(K):
            k = first + j
            if H % K == 0:
                column = tl.load(columns + k)
                row = tl.load(matrix + k * H + n, mask=n < H, other=0.0)
            else:
                column = tl.load(columns + k, mask=k < H, other=0.0)
                row = tl.load(matrix + k * H + n, mask=(n < H) & (k < H), other=0.0)
            total = tl.fma(
                tl.broadcast_to(column[:, None], total.shape),
                tl.broadcast_to(row[None, :], total.shape),
                total,
            )
    return total


@triton.jit
def rounded_matrix(matrix, n, N: tl.constexpr, H: tl.constexpr):
    """All of a matrix (H, H) in bfloat16, padded to (N, N)."""
    k = tl.arange(0, N)
    inside = (k[:, None] < H) & (n[None, :] < H)
    return tl.load(matrix + k[:, None] * H + n[None, :], mask=inside, other=0.0).to(tl.bfloat16)


@triton.jit
def forward(
    transposed,  # W^T (P, H, H)
    linear,  # A^T (P, H, H)
    parameters,  # of phi, (P, H)
    gains,  # g (P,)
    keeps,  # a (P,)
    inputs,  # z (P, T, B, H)
    activations,  # phi(...) (P, T + 1, B, H), step 0 unused
    states,  # (P, T + 1, B, H), of which step 0 is given
    steps,
    batch,
    H: tl.constexpr,
    N: tl.constexpr,
    ROWS: tl.constexpr,
    K: tl.constexpr,
    PHI: tl.constexpr,
    LEAKY: tl.constexpr,
    KEEP: tl.constexpr,
    LINEAR: tl.constexpr,
    BF16: tl.constexpr,
):
    """Fills ``states`` and, with LEAKY, ``activations``."""
    slot = tl.program_id(0).to(tl.int64)
    row = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    n = tl.arange(0, N)
    # Rows beyond the batch repeat its last one and are not written.
    at = tl.minimum(row, batch - 1) * H
    tile = at[:, None] + n[None, :]
    readable = n[None, :] < H
    writable = (row[:, None] < batch) & readable
    size = batch * H
    transposed += slot * H * H
    inputs += slot * steps * size
    states += slot * (steps + 1) * size
    parameter = tl.load(parameters + slot * H + n, mask=n < H, other=0.0)[None, :]
    if LEAKY:
        activations += slot * (steps + 1) * size
        gain = tl.load(gains + slot)
        if KEEP:
            keep = tl.load(keeps + slot)
        if LINEAR:
            linear += slot * H * H
    if BF16:
        W = rounded_matrix(transposed, n, N, H)
        if LINEAR:
            A = rounded_matrix(linear, n, N, H)
    h = tl.load(states + tile, mask=readable, other=0.0)
    for _ in range(steps):
        z = tl.load(inputs + tile, mask=readable, other=0.0)
        if BF16:
            z = tl.dot(h.to(tl.bfloat16), W, z)
        else:
            z = add_product(z, states + at, transposed, n, H, K)
        after = phi(z, parameter, PHI)
        if LEAKY:
            activations += size
            tl.store(activations + tile, after, mask=writable)
            after = after * gain
            if KEEP:
                after += h * keep
            else:
                after += h
            if LINEAR:
                if BF16:
                    after = tl.dot(h.to(tl.bfloat16), A, after)
                else:
                    after = add_product(after, states + at, linear, n, H, K)
        h = after
        inputs += size
        states += size
        tl.store(states + tile, h, mask=writable)
        # The next step reads what other threads have written.
        tl.debug_barrier()


@triton.jit
def backward(
    recurrent,  # W (P, H, H)
    linear,  # A (P, H, H)
    parameters,  # of phi, (P, H)
    gains,  # g (P,)
    keeps,  # a (P,)
    outputs,  # phi(...) of every step (P, T + 1, B, H)
    by_inputs,  # with LEAKY: the gradients by z, as written here (P, T + 1, B, H)
    by_states,  # (P, T + 1, B, H)
    steps,
    batch,
    H: tl.constexpr,
    N: tl.constexpr,
    ROWS: tl.constexpr,
    K: tl.constexpr,
    PHI: tl.constexpr,
    LEAKY: tl.constexpr,
    KEEP: tl.constexpr,
    LINEAR: tl.constexpr,
    BF16: tl.constexpr,
):
    """Turns the loss's gradients by the states, 0 at step 0, into those with all paths included.

    Without LEAKY, ``by_states`` ends up holding the gradients by z instead, except at step 0.
    """
    slot = tl.program_id(0).to(tl.int64)
    row = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    n = tl.arange(0, N)
    at = tl.minimum(row, batch - 1) * H
    tile = at[:, None] + n[None, :]
    readable = n[None, :] < H
    writable = (row[:, None] < batch) & readable
    size = batch * H
    recurrent += slot * H * H
    last = (slot * (steps + 1) + steps) * size
    outputs += last
    by_states += last
    parameter = tl.load(parameters + slot * H + n, mask=n < H, other=0.0)[None, :]
    if LEAKY:
        by_inputs += last
        gain = tl.load(gains + slot)
        if KEEP:
            keep = tl.load(keeps + slot)
        if LINEAR:
            linear += slot * H * H
    if BF16:
        W = rounded_matrix(recurrent, n, N, H)
        if LINEAR:
            A = rounded_matrix(linear, n, N, H)
    by_state = tl.load(by_states + tile, mask=readable, other=0.0)
    for _ in range(steps):
        output = tl.load(outputs + tile, mask=readable, other=0.0)
        # Read before the barrier, written after it: no thread overwrites what another still needs.
        before = tl.load(by_states - size + tile, mask=readable, other=0.0)
        if LEAKY:
            by_input = pulled_back(by_state * gain, output, parameter, PHI)
            tl.store(by_states + tile, by_state, mask=writable)
            tl.store(by_inputs + tile, by_input, mask=writable)
            columns = by_inputs + at
        else:
            by_input = pulled_back(by_state, output, parameter, PHI)
            tl.store(by_states + tile, by_input, mask=writable)
            columns = by_states + at
        tl.debug_barrier()
        if LEAKY:
            if KEEP:
                before += by_state * keep
            else:
                before += by_state
            if LINEAR:
                if BF16:
                    before = tl.dot(by_state.to(tl.bfloat16), A, before)
                else:
                    before = add_product(before, by_states + at, linear, n, H, K)
        if BF16:
            before = tl.dot(by_input.to(tl.bfloat16), W, before)
        else:
            before = add_product(before, columns, recurrent, n, H, K)
        by_state = before
        outputs -= size
        by_states -= size
        if LEAKY:
            by_inputs -= size
    tl.store(by_states + tile, by_state, mask=writable)
