"""W = exp(A): every rotation."""

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from longhaul_trainers.matrices.base import RecurrentMatrix, recurrent_group
from longhaul_trainers.matrices.skew import SkewSettings, SkewSymmetric
from longhaul_trainers.matrices.skew_exponential import skew_exponential
from longhaul_trainers.parameter_groups import ParameterGroup


@final
class ExponentialMatrix(RecurrentMatrix):
    """W = exp(A) with A skew-symmetric: orthogonal with determinant 1, and every such W.

    Args:
        hidden_size: H.
        slots: initialiser, learning-rate ratio and optimiser of each slot.
        generators: one a slot.

    Reference: Lezcano-Casado and Martínez-Rubio, "Cheap Orthogonal Constraints in Neural Networks",
    ICML 2019, arXiv:1901.08428.
    """

    def __init__(
        self,
        hidden_size: int,
        slots: Sequence[SkewSettings],
        generators: Sequence[torch.Generator],
    ) -> None:
        super().__init__()
        self._slots = tuple(slots)
        self.skew = SkewSymmetric(hidden_size, slots, generators)

    def matrix(self) -> Tensor:
        # One slot at a time: a batched exponential treats all matrices alike, by the norms of all,
        # so that a trial's last bits would depend on its neighbours.
        return torch.stack([skew_exponential(one) for one in self.skew()])

    def parameter_groups(self) -> list[ParameterGroup]:
        """One group without weight decay: decay would pull W towards the identity."""
        return [recurrent_group(self._slots, [self.skew.upper], decay=False)]
