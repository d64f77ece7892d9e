"""W = L^-T exp(S) L^T: a rotation of another inner product."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from longhaul_trainers.matrices.base import RecurrentMatrix, RecurrentSettings, recurrent_group
from longhaul_trainers.matrices.skew import SkewSymmetric
from longhaul_trainers.matrices.vector_field import REFERENCE, DepartureSettings, departure_group
from longhaul_trainers.parameter_groups import ParameterGroup
from longhaul_trainers.slots import joined, slot_vector


@dataclass(frozen=True, kw_only=True)
class MetricFieldSettings(DepartureSettings):
    """Those of every departure from a rotation."""

    name: ClassVar[str] = "vector_field_metric"


@final
class MetricField(RecurrentMatrix):
    """W = L^-T exp(S) L^T, S skew-symmetric, L lower triangular with a positive diagonal.

    W keeps the learned inner product M = L L^T: W^T M W = M. Its generator is skew in M, so the
    field is always free of divergence there, all eigenvalues stay on the unit circle and det W = 1,
    but W is not normal: its singular values are within 1 / cond(L) and cond(L).

    The diagonal of L is an exponential, so that it is positive. With L = I, where it starts, W is
    that of `exprnn`. As there is no divergence to punish, the penalty is ``divergence_penalty``
    times the sum of squares of what L = I has as 0: the entries below the diagonal and the
    logarithms of those on it.

    Two groups: S (``recurrent``), and L (``field``) with its own learning rate and decay.
    """

    settings_type = MetricFieldSettings
    formula = "W = L^-T exp(S) L^T, S = X - X^T, X strictly upper triangular, L lower triangular"
    reference = REFERENCE
    divergence_penalty: Tensor
    positions: Tensor

    def __init__(
        self,
        hidden_size: int,
        slots: Sequence[MetricFieldSettings],
        generators: Sequence[torch.Generator],
    ) -> None:
        super().__init__(hidden_size, slots, generators)
        self.settings = tuple(slots)
        self.skew = SkewSymmetric(hidden_size, slots, generators)
        rows, columns = torch.tril_indices(hidden_size, hidden_size, offset=-1)
        self.lower = nn.Parameter(torch.zeros(len(slots), len(rows)))
        self.log_diagonal = nn.Parameter(torch.zeros(len(slots), hidden_size))
        # Derived from the size alone: no part of a checkpoint.
        self.register_buffer("positions", rows * hidden_size + columns, persistent=False)
        penalties = slot_vector(slots, lambda slot: slot.divergence_penalty)
        self.register_buffer("divergence_penalty", penalties)

    @classmethod
    def parameter_count(cls, hidden_size: int, settings: RecurrentSettings) -> int:
        return hidden_size * (hidden_size - 1) + hidden_size

    def matrix(self) -> Tensor:
        # One slot at a time, for solvers too.
        factors = [lower.mT for lower in self._factors()]
        slots = zip(self.skew.exponential(), factors, strict=True)
        return joined(
            [
                torch.linalg.solve_triangular(upper, flow @ upper, upper=True)
                for flow, upper in slots
            ]
        )

    def _factors(self) -> list[Tensor]:
        """L of every slot."""
        size = self.hidden_size
        zeros = self.lower.new_zeros(size * size)
        return [
            zeros.index_copy(0, self.positions, below).view(size, size) + on.exp().diag()
            for below, on in zip(self.lower, self.log_diagonal, strict=True)
        ]

    def parameter_groups(self) -> list[ParameterGroup]:
        return [
            recurrent_group(self.slots, [self.skew.upper], decay=False),
            departure_group(self.settings, [self.lower, self.log_diagonal]),
        ]

    def penalty(self) -> Tensor | None:
        """The term ``divergence_penalty`` times the squared distance of L from I."""
        pairs = zip(self.lower, self.log_diagonal, strict=True)
        sums = [below.square().sum() + on.square().sum() for below, on in pairs]
        return self.divergence_penalty * torch.stack(sums)
