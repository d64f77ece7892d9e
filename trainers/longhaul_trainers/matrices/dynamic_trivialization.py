"""W = B exp(A) with a base B that moves along: dynamic trivialisation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from longhaul_trainers.matrices.base import RecurrentMatrix, RecurrentSettings, recurrent_group
from longhaul_trainers.matrices.skew import SkewSettings, SkewSymmetric
from longhaul_trainers.parameter_groups import ParameterGroup
from longhaul_trainers.settings import setting
from longhaul_trainers.slots import joined


@dataclass(frozen=True, kw_only=True)
class DynamicTrivializationSettings(SkewSettings):
    """What cells with a dynamic trivialisation have; defaults as published for copying."""

    name: ClassVar[str] = "dtriv"
    rebase_every: int | None = setting(
        100, ge=1, structural=True, help="K: steps after which W becomes the base; null: never"
    )
    project_every: int | None = setting(
        30,
        ge=1,
        structural=True,
        help="M: changes of base after which the base is made orthogonal anew; null: never",
    )


@final
class DynamicTrivializationMatrix(RecurrentMatrix):
    """W = B exp(A), A skew-symmetric; every K steps B becomes W and A becomes 0.

    Orthogonal, and every W of B's determinant, 1, is reached. The exponential stretches distances
    ever more away from A = 0, up to making points where its derivative is singular; with the base
    nearby the gradient by A is the Riemannian one, with K = 1 exactly so. K = null is the
    parametrisation about the first W.

    B starts as exp(A0), A0 drawn by ``skew_init``, and A at 0, so the first W is that of `exprnn`.
    A change of base leaves W as it is, but for rounding, and the optimiser's running averages too,
    which from then on speak of another A, as in the authors' program. Rounding piles up in B, so
    every M changes B is replaced by the nearest orthogonal matrix, its polar factor.

    Base and counters are buffers, so a checkpoint goes on at the same point.
    """

    settings_type = DynamicTrivializationSettings
    formula = (
        "W = B exp(A), A = X - X^T, X strictly upper triangular; "
        "every K steps B <- W, A <- 0; every M of these B <- U V^T of B = U S V^T"
    )
    reference = (
        'Lezcano-Casado, "Trivializations for Gradient-Based Optimization on Manifolds", '
        "NeurIPS 2019, arXiv:1909.09501"
    )
    base: Tensor
    steps: Tensor
    rebases: Tensor

    def __init__(
        self,
        hidden_size: int,
        slots: Sequence[DynamicTrivializationSettings],
        generators: Sequence[torch.Generator],
    ) -> None:
        super().__init__(hidden_size, slots, generators)
        self.rebase_every = slots[0].rebase_every
        self.project_every = slots[0].project_every
        self.skew = SkewSymmetric(hidden_size, slots, generators)
        base = self.skew.exponential().detach()
        with torch.no_grad():
            self.skew.upper.zero_()
        self.register_buffer("base", base)
        counters = torch.zeros(len(slots), dtype=torch.int64)
        self.register_buffer("steps", counters)
        self.register_buffer("rebases", counters.clone())

    @classmethod
    def parameter_count(cls, hidden_size: int, settings: RecurrentSettings) -> int:
        return SkewSymmetric.parameter_count(hidden_size)

    def matrix(self) -> Tensor:
        # One slot at a time, as for every product here.
        pairs = zip(self.base, self.skew.exponential(), strict=True)
        return joined([base @ rotation for base, rotation in pairs])

    def parameter_groups(self) -> list[ParameterGroup]:
        """One group without weight decay: decay would pull W towards the base."""
        return [recurrent_group(self.slots, [self.skew.upper], decay=False)]

    @torch.no_grad()
    def after_step(self) -> None:
        """Counts the step; where K are full, changes the base, and after M changes projects it."""
        self.steps += 1
        if self.rebase_every is None:
            return
        due = self.steps % self.rebase_every == 0
        if not bool(due.any()):
            return
        W = self.matrix()
        self.rebases += due
        for p in due.nonzero().flatten().tolist():
            self.base[p] = W[p]
            self.skew.upper[p] = 0
            if self.project_every and int(self.rebases[p]) % self.project_every == 0:
                self.base[p] = polar_factor(W[p])


def polar_factor(W: Tensor) -> Tensor:
    """The orthogonal matrix nearest to W, shape (H, H); W itself where it is not finite."""
    if not bool(torch.isfinite(W).all()):
        return W
    U, _, Vh = torch.linalg.svd(W.double())
    nearest: Tensor = (U @ Vh).to(W.dtype)
    return nearest
