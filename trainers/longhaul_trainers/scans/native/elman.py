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
class Reading:
    """The readout y = h K + k of every step, made while the state is in cache; contiguous.

    Attributes:
        weight: K, shape (P, H, O).
        bias: k, shape (P, 1, O).
        outputs: y, shape (P, T, B, O): to be filled, or on the way back the loss's gradients.
    """

    weight: Tensor
    bias: Tensor
    outputs: Tensor


@dataclass(frozen=True)
class Given:
    """The loss's gradients by the states, apart from those by what is read of them.

    Attributes:
        states: by those of steps 1 to T, shape (P, T, B, H).
        last: by the last one where there are none by all, shape (P, B, H).
    """

    states: Tensor | None = None
    last: Tensor | None = None


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
        readout_weight: by K, shape (P, H, O).
        readout_bias: by k, shape (P, 1, O).
    """

    recurrent: Tensor | None = None
    weight: Tensor | None = None
    bias: Tensor | None = None
    parameter: Tensor | None = None
    inputs: Tensor | None = None
    initial: Tensor | None = None
    readout_weight: Tensor | None = None
    readout_bias: Tensor | None = None


@dataclass(frozen=True)
class CompiledElman:
    """The scan for one nonlinearity; all tensors on the CPU, contiguous, of one type.

    Attributes:
        code: which function phi is, as phi.hpp counts them.
        parameter: phi's parameter of each unit, shape (P, H).
    """

    code: int
    parameter: Tensor

    def forward(
        self,
        recurrent: Tensor,
        inputs: Tensor | Drive,
        states: Tensor,
        reading: Reading | None = None,
    ) -> None:
        """Fills ``states`` (P, T + 1, B, H), whose step 0 is given, and what is read of them.

        Args:
            recurrent: W, shape (P, H, H).
            inputs: the input products z, shape (P, T, B, H), or what makes them.
            states: of all steps.
            reading: what is read, if anything.
        """
        drive = inputs if isinstance(inputs, Drive) else None
        products = None if isinstance(inputs, Drive) else inputs
        arguments = self._arguments(recurrent, drive, reading)
        bias, outputs = (reading.bias, reading.outputs) if reading else (None, None)
        call("elman_forward", states, *arguments, bias, products, states, outputs)

    def backward(
        self,
        recurrent: Tensor,
        states: Tensor,
        given: Given,
        wanted: ElmanGradients,
        drive: Drive | None = None,
        reading: Reading | None = None,
    ) -> None:
        """Fills the gradients.

        Args:
            recurrent: W, shape (P, H, H).
            states: of all steps, as `forward` left them.
            given: the loss's gradients by the states.
            wanted: the gradients, whatever they hold.
            drive: as `forward` had it.
            reading: as `forward` had it, the loss's gradients for outputs.
        """
        gradients = (
            wanted.recurrent,
            wanted.weight,
            wanted.bias,
            wanted.parameter,
            wanted.inputs,
            wanted.initial,
            wanted.readout_weight,
            wanted.readout_bias,
        )
        arguments = self._arguments(recurrent, drive, reading)
        by_outputs = None if reading is None else reading.outputs
        outside = (given.states, given.last, by_outputs)
        call("elman_backward", states, *arguments, states, *outside, *gradients)

    def _arguments(
        self, recurrent: Tensor, drive: Drive | None, reading: Reading | None
    ) -> tuple[Tensor | int | None, ...]:
        inputs = 0 if drive is None else drive.inputs.shape[3]
        classes = 0 if reading is None else reading.weight.shape[2]
        driven = (None,) * 3 if drive is None else (drive.inputs, drive.weight, drive.bias)
        read = None if reading is None else reading.weight
        return inputs, classes, self.code, self.parameter, recurrent, *driven, read


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
