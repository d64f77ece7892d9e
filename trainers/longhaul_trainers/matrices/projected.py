"""W itself, an orthogonal matrix whose updates of low rank are brought back to the manifold."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from longhaul_trainers.errors import SettingError
from longhaul_trainers.matrices.base import RecurrentMatrix, RecurrentSettings
from longhaul_trainers.matrices.free import draw_recurrent
from longhaul_trainers.parameter_groups import ParameterGroup
from longhaul_trainers.settings import setting
from longhaul_trainers.slots import slot_vector, stack_slots


@dataclass(frozen=True, kw_only=True)
class ProjectedSettings(RecurrentSettings):
    """What cells with such an orthogonal matrix have."""

    name: ClassVar[str] = "projected"
    learning_rate_ratio: float = setting(
        1 / 32, gt=0, help="learning rate of the recurrent matrix, as a multiple of the trial's"
    )
    recurrent_optimizer: Literal["rmsprop"] | None = setting(
        "rmsprop",
        structural=True,
        help="what W's gradient passes before the step: rmsprop divides it by the root of its "
        "square's mean (smoothed by 0.99); null: nothing",
    )
    recurrent_init: Literal["henaff", "identity", "orthogonal"] = setting(
        "henaff", help="initial W: pairwise rotations, identity, or Haar"
    )
    variant: Literal["direct", "tangent"] = setting(
        "tangent",
        structural=True,
        help="direct: the orthogonal matrix nearest to W plus the update; tangent: the exponential "
        "of the update's part along the manifold",
    )
    rank: int = setting(1, ge=1, structural=True, help="rank of the update, at most hidden_size")
    low_rank: Literal["svd", "columns"] = setting(
        "svd", structural=True, help="what is kept of it: leading singular triplets, or columns"
    )


@final
class ProjectedMatrix(RecurrentMatrix):
    """W itself, orthogonal, trained by projUNN: its H^2 numbers have H (H - 1) / 2 freedoms."""

    settings_type = ProjectedSettings
    formula = (
        "W orthogonal; W <- polar factor of W + a b^T (direct), or W exp((c b^T - b c^T) / 2) with "
        "c = W^T a (tangent), a b^T = -eta G cut to rank k, G = dL/dW"
    )
    reference = (
        'Kiani, Balestriero, LeCun, Lloyd, "projUNN: efficient method for training deep networks '
        'with unitary matrices", NeurIPS 2022, arXiv:2203.05483'
    )

    def __init__(
        self,
        hidden_size: int,
        slots: Sequence[ProjectedSettings],
        generators: Sequence[torch.Generator],
    ) -> None:
        super().__init__(hidden_size, slots, generators)
        self.check_size(hidden_size, slots[0])
        self._settings = tuple(slots)

        def draw(slot: ProjectedSettings, generator: torch.Generator) -> Tensor:
            return draw_recurrent(slot.recurrent_init, 1.0, hidden_size, generator)

        self.weight = stack_slots(slots, generators, draw)

    @classmethod
    def check_size(cls, hidden_size: int, settings: RecurrentSettings) -> None:
        if isinstance(settings, ProjectedSettings) and settings.rank > hidden_size:
            found = f"found {settings.rank} with {hidden_size} hidden units"
            raise SettingError("rank", f"{found}; expected at most as many")

    @classmethod
    def parameter_count(cls, hidden_size: int, settings: RecurrentSettings) -> int:
        return hidden_size**2

    def matrix(self) -> Tensor:
        return self.weight

    def parameter_groups(self) -> list[ParameterGroup]:
        """One group, by projUNN, on which decay has no effect."""
        one = self._settings[0]
        options = {
            "preconditioner": one.recurrent_optimizer or "none",
            "variant": one.variant,
            "rank": one.rank,
            "low_rank": one.low_rank,
        }
        ratio = slot_vector(self._settings, lambda slot: slot.learning_rate_ratio)
        return [
            ParameterGroup(
                name="recurrent",
                parameters=(self.weight,),
                learning_rate_ratio=ratio,
                decay=False,
                optimizer="projunn",
                options=(options,) * len(self._settings),
            )
        ]
