"""The compiled diagonal scan."""

from dataclasses import dataclass

from torch import Tensor

from longhaul_trainers.memory import reused_as
from longhaul_trainers.nonlinearities import Nonlinearity
from longhaul_trainers.scans.native.library import call, serves
from longhaul_trainers.scans.slotwise import row_sums


@dataclass(frozen=True)
class CompiledDiagonal:
    """The scan for one nonlinearity; all tensors on the CPU, contiguous, of one type.

    Attributes:
        code: which function phi is, as phi.hpp counts them.
        parameter: phi's parameter of each unit, shape (P, H).
    """

    code: int
    parameter: Tensor

    def forward(self, recurrent: Tensor, inputs: Tensor, states: Tensor) -> None:
        """Fills ``states`` (P, T + 1, B, H), whose step 0 is given, from inputs (P, T, B, H)."""
        call("diagonal_forward", states, self.code, self.parameter, recurrent, inputs, states)

    def backward(
        self, recurrent: Tensor, states: Tensor, by_outputs: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The gradients by z (P, T, B, H), by the state before the first step and by u.

        Args:
            recurrent: u, shape (P, H).
            states: as `forward` filled them.
            by_outputs: the loss's gradients by h of each step, shape (P, T, B, H).
        """
        by_inputs = reused_as(by_outputs)
        by_initial, by_weight = by_outputs.new_empty(2, *states[:, 0].shape).unbind()
        given = (recurrent, states, by_outputs)
        found = (by_inputs, by_initial, by_weight)
        call("diagonal_backward", states, self.code, self.parameter, *given, *found)
        return by_inputs, by_initial, row_sums(by_weight)


def compiled_diagonal(phi: Nonlinearity, states: Tensor) -> CompiledDiagonal | None:
    """The compiled scan for this nonlinearity, where there is one.

    Args:
        phi: the nonlinearity.
        states: shape (P, T + 1, B, H); tells device, type and sizes.
    """
    found = phi.compiled_for(states) if serves(states) else None
    return None if found is None else CompiledDiagonal(*found)
