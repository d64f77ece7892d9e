"""W = beta (M - M^T) + (1 - beta) (M + M^T) - gamma I: between symmetric and skew-symmetric."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from longhaul_trainers.matrices.base import RecurrentMatrix, RecurrentSettings, recurrent_group
from longhaul_trainers.parameter_groups import ParameterGroup
from longhaul_trainers.settings import setting
from longhaul_trainers.slots import slot_vector, stack_slots


@dataclass(frozen=True, kw_only=True)
class SymmetricSkewSettings(RecurrentSettings):
    """Mixture, diffusion and scale of the initial matrix; all may differ inside a pack."""

    name: ClassVar[str] = "symmetric_skew"
    beta: float = setting(
        0.75, ge=0, le=1, help="weight of the skew-symmetric part; 1: W turns, 0: it stretches"
    )
    gamma: float = setting(0.001, ge=0, help="diffusion: what is taken off W's diagonal")
    init_std: float = setting(0.1, ge=0, help="the entries of the first M deviate by this over n")


@final
class SymmetricSkewMatrix(RecurrentMatrix):
    """W = beta (M - M^T) + (1 - beta) (M + M^T) - gamma I with M free.

    The symmetric part bounds the real parts of W's eigenvalues, the skew-symmetric one sets how
    fast it turns; beta trades one for the other. M starts normal with deviation init_std / n.
    Weight decay applies.
    """

    settings_type = SymmetricSkewSettings
    formula = "W = beta (M - M^T) + (1 - beta) (M + M^T) - gamma I, M free"
    reference = (
        'Erichson, Azencot, Queiruga, Hodgkinson, Mahoney, "Lipschitz Recurrent Neural Networks", '
        "ICLR 2021, arXiv:2006.12070"
    )
    beta: Tensor
    gamma: Tensor

    def __init__(
        self,
        hidden_size: int,
        slots: Sequence[SymmetricSkewSettings],
        generators: Sequence[torch.Generator],
    ) -> None:
        super().__init__(hidden_size, slots, generators)

        def draw(slot: SymmetricSkewSettings, generator: torch.Generator) -> Tensor:
            drawn = torch.randn(hidden_size, hidden_size, generator=generator)
            return slot.init_std / hidden_size * drawn

        self.weight = stack_slots(slots, generators, draw)
        self.register_buffer("beta", slot_vector(slots, lambda slot: slot.beta))
        self.register_buffer("gamma", slot_vector(slots, lambda slot: slot.gamma))

    @classmethod
    def parameter_count(cls, hidden_size: int, settings: RecurrentSettings) -> int:
        return hidden_size**2

    def matrix(self) -> Tensor:
        M, beta = self.weight, self.beta[:, None, None]
        identity = torch.eye(self.hidden_size, dtype=M.dtype, device=M.device)
        mixed = beta * (M - M.mT) + (1 - beta) * (M + M.mT)
        return mixed - self.gamma[:, None, None] * identity

    def parameter_groups(self) -> list[ParameterGroup]:
        return [recurrent_group(self.slots, [self.weight], decay=True)]
