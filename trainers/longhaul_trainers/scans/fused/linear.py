"""The fused linear scan for CUDA devices."""

from typing import Any

from torch import Tensor

LANES = 128
"""Units of a step that one program takes along, one a thread."""


def run_linear(matrices: Tensor, states: Tensor) -> None:
    """Overwrites the initial state, then b, by the states of h' = A h + b.

    Args:
        matrices: A, shape (P, T or 1, B or 1, k, k, N), in any layout.
        states: shape (P, T + 1, B, k, N), contiguous; k is 1 or 2.
    """
    # imported here: needs Triton, which is not everywhere
    from longhaul_trainers.scans.fused import elementwise_kernels

    kernel: Any = elementwise_kernels.linear

    pack, steps, batch, size, units = states.shape
    same = [one == 1 for one in matrices.shape[1:3]]
    slot, step, sequence, *entry = matrices.stride()
    strides = (slot, 0 if same[0] else step, 0 if same[1] else sequence, *entry)
    grid = (pack, -(-batch * units // LANES))
    kernel[grid](matrices, states, steps - 1, batch, units, *strides, PAIR=size == 2, LANES=LANES)
