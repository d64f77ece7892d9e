"""Weights that may be products of two thin factors."""

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

from longhaul_trainers.slots import stack_slots


@final
class FactoredWeight(nn.Module):
    """A weight (P, rows, columns), trained itself or as the product L R of two factors.

    All entries of what is trained start normal.

    Args:
        rows: of the weight.
        columns: of the weight.
        rank: columns of L and rows of R; None: the weight itself.
        deviation: of the initial entries.
        generators: one CPU generator a slot; L is drawn before R.
    """

    def __init__(
        self,
        rows: int,
        columns: int,
        rank: int | None,
        deviation: float,
        generators: Sequence[torch.Generator],
    ) -> None:
        super().__init__()

        def draw(*shape: int) -> nn.Parameter:
            return stack_slots(
                generators,
                generators,
                lambda _, generator: deviation * torch.randn(*shape, generator=generator),
            )

        self.factored = rank is not None
        if rank is None:
            self.weight = draw(rows, columns)
        else:
            self.left = draw(rows, rank)
            self.right = draw(rank, columns)

    @staticmethod
    def parameter_count(rows: int, columns: int, rank: int | None) -> int:
        """Number of trainable parameters of one slot."""
        return rows * columns if rank is None else rank * (rows + columns)

    def forward(self) -> Tensor:
        """The weight, shape (P, rows, columns)."""
        if not self.factored:
            return self.weight
        # slot by slot: how a batched product adds up may depend on P
        factors = zip(self.left, self.right, strict=True)
        return torch.stack([torch.mm(left, right) for left, right in factors])
