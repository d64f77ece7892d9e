"""The Elman scan recorded, for what the fused one is not made for: wide cells, float64.

Dimensions: T steps, P slots, B sequences in a batch, H hidden units.
"""

from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from longhaul_trainers.nonlinearities import Nonlinearity
from longhaul_trainers.precision import Precision, factor
from longhaul_trainers.scans.recorded import Recordings, parts, recordings

_IDENTITY, _TANH, _RELU, _LEAKY_RELU, _MODRELU = range(5)


@dataclass(frozen=True)
class RecordedElman:
    """The scan for one nonlinearity; all tensors on one device, of one type.

    Attributes:
        recorded: where the loops are recorded.
        code: which function phi is, as `Nonlinearity.compiled` numbers them.
        parameter: phi's parameter of each unit, shape (P, 1, H).
        precision: of the factors of all products with W.
    """

    recorded: Recordings
    code: int
    parameter: Tensor
    precision: Precision

    def forward(self, recurrent: Tensor, inputs: Tensor, states: Tensor) -> None:
        """Fills ``states`` (P, T + 1, B, H), whose step 0 is given, from inputs (P, T, B, H)."""
        states[:, 1:] = inputs
        read = (factor(recurrent, self.precision).mT, self.parameter)
        loop = partial(_run, self.code, self.precision)
        name = ("elman", self.code, self.precision)
        for _, now in parts(inputs.shape[1], self.recorded):
            self.recorded.run(name, loop, read, (states[:, now],))

    def backward(self, recurrent: Tensor, outputs: Tensor, by_states: Tensor) -> None:
        """Turns the loss's gradients by the states, 0 at step 0, into those by z, in place.

        Step 0 becomes the gradient by the state before the first step.
        """
        matrix = factor(recurrent, self.precision)
        loop = partial(_pull_back, self.code, self.precision)
        name = ("elman backward", self.code, self.precision)
        for _, now in reversed(parts(outputs.shape[1] - 1, self.recorded)):
            read = (matrix, self.parameter, outputs[:, now])
            self.recorded.run(name, loop, read, (by_states[:, now],))


def recorded_elman(phi: Nonlinearity, states: Tensor, precision: Precision) -> RecordedElman | None:
    """The recorded scan for this nonlinearity, where there is one.

    Args:
        phi: the nonlinearity.
        states: shape (P, T + 1, B, H); tells device, type and sizes.
        precision: of the factors of all products with W.
    """
    recorded = recordings(states)
    found = None if recorded is None else phi.compiled_for(states)
    if recorded is None or found is None:
        return None
    code, parameter = found
    return RecordedElman(recorded, code, parameter.unsqueeze(1), precision)


def _run(
    code: int, precision: Precision, transposed: Tensor, parameter: Tensor, states: Tensor
) -> None:
    for previous, current in pairwise(states.unbind(1)):
        current.baddbmm_(factor(previous, precision), transposed)
        if code == _TANH:
            current.tanh_()
        elif code == _RELU:
            current.relu_()
        elif code == _LEAKY_RELU:
            torch.maximum(current, current * parameter, out=current)
        elif code == _MODRELU:
            sign = current.sign()
            current.abs_().add_(parameter).relu_().mul_(sign)


def _pull_back(
    code: int,
    precision: Precision,
    matrix: Tensor,
    parameter: Tensor,
    outputs: Tensor,
    gradients: Tensor,
) -> None:
    output, gradient = outputs.unbind(1), gradients.unbind(1)
    for step in range(len(output) - 1, 0, -1):
        if code == _TANH:
            gradient[step].mul_(1 - output[step] * output[step])
        elif code == _LEAKY_RELU:
            gradient[step].mul_(torch.where(output[step] > 0, 1.0, parameter))
        elif code != _IDENTITY:
            gradient[step].mul_(output[step] > 0 if code == _RELU else output[step] != 0)
        gradient[step - 1].baddbmm_(factor(gradient[step], precision), matrix)
