"""The fused diagonal scan for CUDA devices."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from longhaul_trainers.nonlinearities import Nonlinearity
from longhaul_trainers.scans.fused.library import serves
from longhaul_trainers.scans.slotwise import row_sums

LANES = 128
"""Numbers of a step that one program takes along, one a thread."""


@dataclass(frozen=True)
class FusedDiagonal:
    """The scan for one nonlinearity; all tensors on one device, contiguous, of one type.

    Attributes:
        code: which function phi is, as `Nonlinearity.compiled` numbers them.
        parameter: phi's parameter of each unit, shape (P, H).
    """

    code: int
    parameter: Tensor

    def forward(self, recurrent: Tensor, inputs: Tensor, states: Tensor) -> None:
        """Fills ``states`` (P, T + 1, B, H), whose step 0 is given, from inputs (P, T, B, H)."""
        # imported here: needs Triton, which is not everywhere
        from longhaul_trainers.scans.fused import elementwise_kernels

        kernel: Any = elementwise_kernels.diagonal_forward

        pack, steps, batch, size = inputs.shape
        given = (recurrent, self.parameter, inputs, states)
        sizes = (steps, batch, size)
        grid = (pack, -(-batch * size // LANES))
        kernel[grid](*given, *sizes, PHI=self.code, LANES=LANES)

    def backward(
        self, recurrent: Tensor, states: Tensor, by_outputs: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The gradients by z (P, T, B, H), by the state before the first step and by u.

        Args:
            recurrent: u, shape (P, H).
            states: as `forward` filled them.
            by_outputs: the loss's gradients by h of each step, shape (P, T, B, H).
        """
        # imported here: needs Triton, which is not everywhere
        from longhaul_trainers.scans.fused import elementwise_kernels

        kernel: Any = elementwise_kernels.diagonal_backward

        pack, steps, batch, size = by_outputs.shape
        by_inputs = by_outputs.new_empty(by_outputs.shape)
        by_initial = by_outputs.new_empty(pack, batch, size)
        by_weight = by_outputs.new_empty(pack, batch, size)
        given = (recurrent, self.parameter, states, by_outputs)
        grid = (pack, -(-batch * size // LANES))
        kernel[grid](
            *given,
            *(by_inputs, by_initial, by_weight),
            *(steps, batch, size),
            PHI=self.code,
            LANES=LANES,
        )
        return by_inputs, by_initial, row_sums(by_weight)


def fused_diagonal(phi: Nonlinearity, states: Tensor) -> FusedDiagonal | None:
    """The fused scan for this nonlinearity, where there is one.

    Args:
        phi: the nonlinearity.
        states: shape (P, T + 1, B, H); tells device, type and sizes.
    """
    if not serves(states):
        return None
    found = phi.compiled_for(states)
    return None if found is None else FusedDiagonal(*found)
