"""The compiled Elman scan."""

from dataclasses import dataclass

from torch import Tensor

from longhaul_trainers.nonlinearities import Nonlinearity
from longhaul_trainers.precision import Precision
from longhaul_trainers.scans.native.library import call, serves


@dataclass(frozen=True)
class Drive:
    """What makes the preactivation's input part V x + b inside the scan; contiguous.

    Attributes:
        inputs: x, shape (P, T, B, I).
        weight: V, shape (P, H, I).
        bias: b, shape (P, H), or None.
    """

    inputs: Tensor
    weight: Tensor
    bias: Tensor | None


@dataclass(frozen=True)
class ElmanGradients:
    """Where the backward scan puts the gradients; None for those that nobody wants.

    Attributes:
        recurrent: by W, shape (P, H, H).
        weight: by V, shape (P, H, I).
        bias: by b, shape (P, H).
        parameter: by phi's parameter, shape (P, H).
        inputs: by the preactivations z, shape (P, T, B, H).
        initial: by the state before the first step, shape (P, B, H).
    """

    recurrent: Tensor | None = None
    weight: Tensor | None = None
    bias: Tensor | None = None
    parameter: Tensor | None = None
    inputs: Tensor | None = None
    initial: Tensor | None = None


@dataclass(frozen=True)
class CompiledElman:
    """The scan for one nonlinearity; all tensors on the CPU, contiguous, of one type.

    Attributes:
        code: which function phi is, as phi.hpp counts them.
        parameter: phi's parameter of each unit, shape (P, H).
    """

    code: int
    parameter: Tensor

    def forward(self, recurrent: Tensor, inputs: Tensor | Drive, states: Tensor) -> None:
        """Fills ``states`` (P, T + 1, B, H), whose step 0 is given.

        Args:
            recurrent: W, shape (P, H, H).
            inputs: the input products z, shape (P, T, B, H), or what makes them.
            states: of all steps.
        """
        drive = inputs if isinstance(inputs, Drive) else None
        products = None if isinstance(inputs, Drive) else inputs
        call("elman_forward", states, *self._arguments(recurrent, drive), products, states)

    def backward(
        self,
        recurrent: Tensor,
        states: Tensor,
        given: Tensor,
        wanted: ElmanGradients,
        drive: Drive | None = None,
    ) -> None:
        """Fills the gradients.

        Args:
            recurrent: W, shape (P, H, H).
            states: of all steps, as `forward` left them.
            given: the loss's gradients by the states of steps 1 to T, shape (P, T, B, H).
            wanted: the gradients, whatever they hold.
            drive: as `forward` had it.
        """
        gradients = (
            wanted.recurrent,
            wanted.weight,
            wanted.bias,
            wanted.parameter,
            wanted.inputs,
            wanted.initial,
        )
        arguments = self._arguments(recurrent, drive)
        call("elman_backward", states, *arguments, states, given, *gradients)

    def _arguments(self, recurrent: Tensor, drive: Drive | None) -> tuple[Tensor | int | None, ...]:
        if drive is None:
            return 0, self.code, self.parameter, recurrent, None, None, None
        size = drive.inputs.shape[3]
        mine = (self.code, self.parameter, recurrent)
        return size, *mine, drive.inputs, drive.weight, drive.bias


def compiled_elman(
    phi: Nonlinearity, states: Tensor, precision: Precision = "float32"
) -> CompiledElman | None:
    """The compiled scan for this nonlinearity and precision, where there is one.

    Args:
        phi: the nonlinearity.
        states: shape (P, T + 1, B, H); tells device, type and sizes.
        precision: of the factors of the products.
    """
    if precision != "float32" or not serves(states):
        return None
    found = phi.compiled_for(states)
    return None if found is None else CompiledElman(*found)
