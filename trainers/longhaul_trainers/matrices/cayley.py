"""W = (I + A)^-1 (I - A) D: the scaled Cayley transform."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from longhaul_trainers.matrices.base import RecurrentMatrix, RecurrentSettings, recurrent_group
from longhaul_trainers.matrices.skew import SkewSettings, SkewSymmetric
from longhaul_trainers.matrices.skew_init import SkewInit
from longhaul_trainers.parameter_groups import ParameterGroup
from longhaul_trainers.settings import setting


@dataclass(frozen=True, kw_only=True)
class CayleySettings(SkewSettings):
    """What cells with a scaled Cayley transform have."""

    name: ClassVar[str] = "cayley"
    skew_init: SkewInit = setting(
        "cayley", help="initial skew-symmetric matrix, which sets the angles of the first W"
    )
    rho: float = setting(0.5, ge=0, le=1, help="fraction of -1 on the diagonal of D")


@final
class CayleyMatrix(RecurrentMatrix):
    """W = (I + A)^-1 (I - A) D with A skew-symmetric and D a fixed diagonal of 1 and -1.

    Orthogonal, with determinant det D. Without D no eigenvalue can be -1; some D reaches every
    orthogonal matrix. The last round(rho H) entries of D are -1.
    """

    settings_type = CayleySettings
    formula = "W = (I + A)^-1 (I - A) D, A = X - X^T, X strictly upper triangular, D fixed, 1 or -1"
    reference = (
        'Helfrich, Willmott, Ye, "Orthogonal Recurrent Neural Networks with Scaled Cayley '
        'Transform", ICML 2018, arXiv:1707.09520'
    )
    signs: Tensor

    def __init__(
        self,
        hidden_size: int,
        slots: Sequence[CayleySettings],
        generators: Sequence[torch.Generator],
    ) -> None:
        super().__init__(hidden_size, slots, generators)
        self.skew = SkewSymmetric(hidden_size, slots, generators)
        signs = torch.ones(len(slots), hidden_size)
        for row, slot in zip(signs, slots, strict=True):
            row[hidden_size - round(slot.rho * hidden_size) :] = -1
        self.register_buffer("signs", signs)

    @classmethod
    def parameter_count(cls, hidden_size: int, settings: RecurrentSettings) -> int:
        return SkewSymmetric.parameter_count(hidden_size)

    def matrix(self) -> Tensor:
        identity = torch.eye(
            self.skew.hidden_size, dtype=self.signs.dtype, device=self.signs.device
        )
        # One solve a slot: the batched one never returns on a CPU with several threads at H = 256
        # (seen with torch 2.13 and oneMKL), and exactness wants one slot at a time anyway.
        return torch.stack(
            [
                torch.linalg.solve(identity + one, identity - one) * signs
                for one, signs in zip(self.skew(), self.signs, strict=True)
            ]
        )

    def parameter_groups(self) -> list[ParameterGroup]:
        """One group without weight decay: decay would pull W towards D."""
        return [recurrent_group(self.slots, [self.skew.upper], decay=False)]
