"""W = exp(S + diag(c)): a rotation with a divergence of its own at every unit."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from longhaul_trainers.matrices.base import RecurrentMatrix, RecurrentSettings, recurrent_group
from longhaul_trainers.matrices.general_exponential import general_exponential
from longhaul_trainers.matrices.skew import SkewSymmetric
from longhaul_trainers.matrices.vector_field import REFERENCE, DepartureSettings, departure_group
from longhaul_trainers.parameter_groups import ParameterGroup
from longhaul_trainers.settings import setting
from longhaul_trainers.slots import slot_vector


@dataclass(frozen=True, kw_only=True)
class DiagonalFieldSettings(DepartureSettings):
    """Bound of the divergence; it may differ inside a pack."""

    name: ClassVar[str] = "vector_field_diagonal"
    margin: float | None = setting(
        None,
        ge=0,
        help="m: |c| is at most log(1 + m), so singular values within 1 / (1 + m) and 1 + m; "
        "null: no bound",
    )


@final
class DiagonalField(RecurrentMatrix):
    """W = exp(S + diag(c)), S skew-symmetric, c = -(div v) / 2.

    det W = exp(sum c), and every singular value is within exp(min c) and exp(max c). With c = 0,
    where it starts, W is that of `exprnn`. The penalty is ``divergence_penalty`` times sum c^2;
    after every step c is clamped to the margin.

    Two groups: S (``recurrent``), and c (``field``) with its own learning rate and decay.
    """

    settings_type = DiagonalFieldSettings
    formula = "W = exp(S + diag(c)), S = X - X^T, X strictly upper triangular, |c| <= log(1 + m)"
    reference = REFERENCE
    bound: Tensor
    divergence_penalty: Tensor

    def __init__(
        self,
        hidden_size: int,
        slots: Sequence[DiagonalFieldSettings],
        generators: Sequence[torch.Generator],
    ) -> None:
        super().__init__(hidden_size, slots, generators)
        self.settings = tuple(slots)
        self.skew = SkewSymmetric(hidden_size, slots, generators)
        self.expansion = nn.Parameter(torch.zeros(len(slots), hidden_size))
        bounds = slot_vector(slots, _bound)
        self.register_buffer("bound", bounds.unsqueeze(1), persistent=False)
        penalties = slot_vector(slots, lambda slot: slot.divergence_penalty)
        self.register_buffer("divergence_penalty", penalties)

    @classmethod
    def parameter_count(cls, hidden_size: int, settings: RecurrentSettings) -> int:
        return SkewSymmetric.parameter_count(hidden_size) + hidden_size

    def matrix(self) -> Tensor:
        # One slot at a time: how often a matrix is halved depends on its own norm.
        pairs = zip(self.skew(), self.expansion, strict=True)
        return torch.stack([general_exponential(S + c.diag()) for S, c in pairs])

    def parameter_groups(self) -> list[ParameterGroup]:
        return [
            recurrent_group(self.slots, [self.skew.upper], decay=False),
            departure_group(self.settings, [self.expansion]),
        ]

    @torch.no_grad()
    def after_step(self) -> None:
        """Clamps c to the margin."""
        self.expansion.copy_(torch.clamp(self.expansion, -self.bound, self.bound))

    def penalty(self) -> Tensor | None:
        """The term ``divergence_penalty`` times sum c^2."""
        return self.divergence_penalty * torch.stack([c.square().sum() for c in self.expansion])


def _bound(slot: DiagonalFieldSettings) -> float:
    return math.inf if slot.margin is None else math.log1p(slot.margin)
