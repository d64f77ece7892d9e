"""The compiled Elman scan whose products read factors rounded to bfloat16."""

from dataclasses import dataclass

import torch
from torch import Tensor

from longhaul_trainers.nonlinearities import Nonlinearity
from longhaul_trainers.scans.inputs import weight_gradient
from longhaul_trainers.scans.native.library import call, has_tiles, serves


@dataclass(frozen=True)
class CompiledRoundedElman:
    """The scan for one nonlinearity; all tensors on the CPU, contiguous, float32.

    Attributes:
        code: which function phi is, as phi.hpp counts them.
        parameter: phi's parameter of each unit, shape (P, H).
    """

    code: int
    parameter: Tensor

    def forward(self, recurrent: Tensor, inputs: Tensor, states: Tensor) -> None:
        """Fills ``states`` (P, T + 1, B, H), whose step 0 is given, from inputs (P, T, B, H)."""
        given = (self.code, self.parameter, recurrent, inputs)
        call("rounded_elman_forward", states, *given, states)

    def backward(self, recurrent: Tensor, states: Tensor, gradients: Tensor) -> None:
        """Turns the loss's gradients by the states, 0 at step 0, into those by z.

        Step 0 becomes the gradient by the state before the first step.
        """
        given = (self.code, self.parameter, recurrent, states)
        call("rounded_elman_backward", states, *given, gradients)


def compiled_rounded_elman(phi: Nonlinearity, inputs: Tensor) -> CompiledRoundedElman | None:
    """The compiled scan for this nonlinearity, where there is one.

    Args:
        phi: the nonlinearity.
        inputs: shape (T, P, B, H); tells device, type and sizes.
    """
    if inputs.dtype != torch.float32 or not serves(inputs):
        return None
    found = phi.compiled_for(inputs.transpose(0, 1))
    return None if found is None else CompiledRoundedElman(*found)


def rounded_weight_gradient(gradients: Tensor, states: Tensor) -> Tensor:
    """`weight_gradient` of factors rounded to bfloat16.

    Args:
        gradients: by the preactivations of all steps, shape (P, T, B, G), or (P, T + 1, B, G) with
            a step 0 that is not read; contiguous.
        states: shape (P, T + 1, B, H), the last of which is not read; contiguous.

    Returns:
        Shape (P, G, H).
    """
    pack, count, _, size = states.shape
    skipped = gradients.shape[1] - count + 1
    if states.dtype != torch.float32 or not serves(states) or not has_tiles():
        return weight_gradient(gradients[:, skipped:], states[:, :-1], "bfloat16")
    outputs = gradients.shape[-1]
    summed = states.new_empty(pack, outputs, size)
    call("rounded_weights", states, outputs, skipped, gradients, states, summed)
    return summed
