"""The direct path D x of a linear layer from its inputs to its outputs.

Dimensions: T steps, P slots, B sequences in a batch, I inputs, H hidden units.
"""

import math
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

from longhaul_trainers.cells.stack import StackSettings
from longhaul_trainers.scans.inputs import hoisted_input_product
from longhaul_trainers.scans.slotwise import slotwise
from longhaul_trainers.slots import stack_slots


@final
class Feedthrough(nn.Module):
    """D of P slots: a vector (P, H) in blocks, where I is H; a matrix (P, H, I) in bare mode.

    Entries start normal, of variance 1, or 1 / I for a matrix.
    """

    def __init__(
        self,
        input_size: int,
        slots: Sequence[StackSettings],
        generators: Sequence[torch.Generator],
    ) -> None:
        super().__init__()
        size = slots[0].hidden_size
        self.is_vector = slots[0].mode == "block"

        def draw(_: StackSettings, generator: torch.Generator) -> Tensor:
            if self.is_vector:
                return torch.randn(size, generator=generator)
            return torch.randn(size, input_size, generator=generator) / math.sqrt(input_size)

        self.weight = stack_slots(slots, generators, draw)

    @classmethod
    def parameter_count(cls, input_size: int, settings: StackSettings) -> int:
        """Number of trainable parameters of one slot."""
        return settings.hidden_size * (1 if settings.mode == "block" else input_size)

    def forward(self, outputs: Tensor, inputs: Tensor) -> Tensor:
        """``outputs`` + D x, shape (T, P, B, H), for inputs x (T, P, B, I)."""
        if not self.is_vector:
            return outputs + hoisted_input_product(inputs, self.weight)
        given = (outputs.transpose(0, 1), inputs.transpose(0, 1), self.weight)
        (added,) = slotwise(_add_product, given)
        return added.transpose(0, 1)


def _add_product(outputs: Tensor, inputs: Tensor, weight: Tensor) -> tuple[Tensor]:
    return (outputs + inputs * weight[:, None, None],)
