"""W itself, a complex matrix that steps along the unitary ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from longhaul_trainers.matrices.base import RecurrentMatrix, RecurrentSettings
from longhaul_trainers.matrices.complex_form import real_form
from longhaul_trainers.parameter_groups import ParameterGroup
from longhaul_trainers.settings import setting
from longhaul_trainers.slots import slot_vector, stack_slots


@dataclass(frozen=True, kw_only=True)
class UnitarySettings(RecurrentSettings):
    """What cells with a unitary matrix of full capacity have."""

    name: ClassVar[str] = "unitary"
    recurrent_optimizer: Literal["rmsprop"] | None = setting(
        None,
        structural=True,
        help="what W's gradient passes before the geodesic step: rmsprop divides it by the root of "
        "its square's mean; null: nothing",
    )


@final
class UnitaryMatrix(RecurrentMatrix):
    """W itself, unitary, trained by geodesic descent: every unitary matrix is reached.

    Its 2 H^2 real numbers are stored and counted, real parts first; the unitary matrices have
    dimension H^2, which is what papers count. W starts as U V^* from the singular value
    decomposition of a complex Gaussian matrix, so from the Haar measure.
    """

    settings_type = UnitarySettings
    formula = "W unitary; W <- (I + eta/2 A)^-1 (I - eta/2 A) W, A = G W^* - W G^*, G = dL/dW"
    reference = (
        'Wisdom, Powers, Hershey, Le Roux, Atlas, "Full-Capacity Unitary Recurrent Neural '
        'Networks", NIPS 2016, arXiv:1611.00035'
    )

    def __init__(
        self,
        hidden_size: int,
        slots: Sequence[UnitarySettings],
        generators: Sequence[torch.Generator],
    ) -> None:
        super().__init__(hidden_size, slots, generators)

        def draw(_: UnitarySettings, generator: torch.Generator) -> Tensor:
            shape = (2, hidden_size, hidden_size)
            gaussian = torch.randn(shape, generator=generator, dtype=torch.float64)
            left, _values, right = torch.linalg.svd(torch.complex(*gaussian))
            return torch.view_as_real(left @ right).movedim(-1, 0).float()

        self.weight = stack_slots(slots, generators, draw)

    @classmethod
    def parameter_count(cls, hidden_size: int, settings: RecurrentSettings) -> int:
        return 2 * hidden_size**2

    @classmethod
    def state_size(cls, hidden_size: int, settings: RecurrentSettings) -> int:
        return 2 * hidden_size

    def matrix(self) -> Tensor:
        return torch.stack([real_form(torch.complex(*slot)) for slot in self.weight])

    def parameter_groups(self) -> list[ParameterGroup]:
        """One group, by geodesic descent, on which decay has no effect."""
        preconditioner = self.slots[0].recurrent_optimizer or "none"
        return [
            ParameterGroup(
                name="recurrent",
                parameters=(self.weight,),
                learning_rate_ratio=slot_vector(self.slots, lambda slot: slot.learning_rate_ratio),
                decay=False,
                optimizer="geodesic",
                options=({"preconditioner": preconditioner},) * len(self.slots),
            )
        ]
