"""A scan for any cell that is written as one step, differentiated by autograd.

Dimensions: T steps, P slots, B sequences in a batch, G input products a step.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from longhaul_trainers.scans.slotwise import slotwise

State = tuple[Tensor, ...]
Step = Callable[[Sequence[Tensor], Tensor, State], State]
"""One step: parameters (P, ...), one step's input products (P, B, G) and the state before give the
state after. Its first tensor is the output. A pure function: all it reads are its arguments, whose
P may be 1 although the pack is larger."""


def stepwise_scan(
    step: Step, parameters: Sequence[Tensor], inputs: Tensor, initial: State
) -> tuple[Tensor, State]:
    """The outputs of all steps and the last state; differentiable in everything.

    On a CPU the slots run one after the other, so that a trial's bits cannot depend on its
    neighbours whatever ``step`` computes; on other devices all together.

    Args:
        step: the cell's equations.
        parameters: each of shape (P, ...).
        inputs: shape (T, P, B, G).
        initial: the state before the first step, each tensor of shape (P, B, ...).

    Returns:
        The first state tensor of every step, shape (T, P, B, ...), and the state after the last.
    """
    count = len(parameters)

    def whole(products: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        given, state = tensors[:count], tensors[count:]
        outputs = []
        for one in products.unbind(1):
            state = step(given, one, state)
            outputs.append(state[0])
        return torch.stack(outputs, 1), *state

    outputs, *state = slotwise(whole, (inputs.transpose(0, 1), *parameters, *initial))
    return outputs.transpose(0, 1), tuple(state)
