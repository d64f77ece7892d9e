"""W = exp(A): every rotation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from longhaul_trainers.matrices.base import RecurrentMatrix, RecurrentSettings, recurrent_group
from longhaul_trainers.matrices.skew import SkewSettings, SkewSymmetric
from longhaul_trainers.parameter_groups import ParameterGroup


@dataclass(frozen=True, kw_only=True)
class ExponentialSettings(SkewSettings):
    """Those of the skew-symmetric matrix."""

    name: ClassVar[str] = "exponential"


@final
class ExponentialMatrix(RecurrentMatrix):
    """W = exp(A) with A skew-symmetric: orthogonal with determinant 1, and every such W."""

    settings_type = ExponentialSettings
    formula = "W = exp(A), A = X - X^T, X strictly upper triangular"
    reference = (
        'Lezcano-Casado and Martínez-Rubio, "Cheap Orthogonal Constraints in Neural Networks: A '
        'Simple Parametrization of the Orthogonal and Unitary Group", ICML 2019, arXiv:1901.08428'
    )

    def __init__(
        self,
        hidden_size: int,
        slots: Sequence[SkewSettings],
        generators: Sequence[torch.Generator],
    ) -> None:
        super().__init__(hidden_size, slots, generators)
        self.skew = SkewSymmetric(hidden_size, slots, generators)

    @classmethod
    def parameter_count(cls, hidden_size: int, settings: RecurrentSettings) -> int:
        return SkewSymmetric.parameter_count(hidden_size)

    def matrix(self) -> Tensor:
        return self.skew.exponential()

    def parameter_groups(self) -> list[ParameterGroup]:
        """One group without weight decay: decay would pull W towards the identity."""
        return [recurrent_group(self.slots, [self.skew.upper], decay=False)]
