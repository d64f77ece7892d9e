"""The compiled Elman scan."""

from dataclasses import dataclass

from torch import Tensor

from longhaul_trainers.nonlinearities import Nonlinearity
from longhaul_trainers.precision import Precision
from longhaul_trainers.scans.native.library import call, serves


@dataclass(frozen=True)
class CompiledElman:
    """The scan for one nonlinearity; all tensors on the CPU, contiguous, of one type.

    Attributes:
        code: which function phi is, as phi.hpp counts them.
        parameter: phi's parameter of each unit, shape (P, H).
    """

    code: int
    parameter: Tensor

    def forward(self, recurrent: Tensor, inputs: Tensor, states: Tensor) -> None:
        """Fills ``states`` (P, T + 1, B, H), whose step 0 is given, from inputs (P, T, B, H)."""
        call("elman_forward", states, self.code, self.parameter, recurrent, inputs, states)

    def backward(self, recurrent: Tensor, states: Tensor, gradients: Tensor) -> None:
        """Turns the loss's gradients by the states, 0 at step 0, into those by z.

        Step 0 becomes the gradient by the state before the first step.
        """
        call("elman_backward", states, self.code, self.parameter, recurrent, states, gradients)


def compiled_elman(
    phi: Nonlinearity, states: Tensor, precision: Precision = "float32"
) -> CompiledElman | None:
    """The compiled scan for this nonlinearity and precision, where there is one.

    Args:
        phi: the nonlinearity.
        states: shape (P, T + 1, B, H); tells device, type and sizes.
        precision: of the factors of the products.
    """
    found = phi.compiled(states.shape[-1])
    if found is None or precision != "float32" or not serves(states):
        return None
    code, parameter = found
    same = parameter.detach().to(states.dtype).expand(states.shape[0], -1).contiguous()
    return CompiledElman(code, same)
