"""W = (I + A)^-1 (I - A) D in complex numbers: the scaled Cayley transform with a trained D."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import torch
from torch import Tensor, nn

from longhaul_trainers.initialisation import uniform
from longhaul_trainers.matrices.base import RecurrentMatrix, RecurrentSettings, recurrent_group
from longhaul_trainers.matrices.complex_form import real_form, unit_phase
from longhaul_trainers.matrices.skew import SkewSettings, SkewSymmetric
from longhaul_trainers.matrices.skew_init import SkewInit
from longhaul_trainers.parameter_groups import ParameterGroup
from longhaul_trainers.settings import setting
from longhaul_trainers.slots import slot_vector, stack_slots


@dataclass(frozen=True, kw_only=True)
class UnitaryCayleySettings(SkewSettings):
    """What cells with a complex scaled Cayley transform have."""

    name: ClassVar[str] = "unitary_cayley"
    skew_init: SkewInit = setting("cayley", help="initial real part of A; the imaginary one is 0")
    phase_learning_rate_ratio: float = setting(
        0.1, gt=0, help="learning rate of D's angles, as a multiple of the trial's"
    )
    phase_optimizer: Literal["adam", "adamw", "rmsprop", "sgd"] | None = setting(
        None, structural=True, help="optimiser of D's angles; null: the trial's own"
    )


@final
class UnitaryCayleyMatrix(RecurrentMatrix):
    """W = (I + A)^-1 (I - A) D, A skew-Hermitian, D = diag(exp(i theta)), both trained.

    Unitary, and every unitary matrix: H^2 numbers for A (the real part skew-symmetric, the
    imaginary one symmetric) and H for theta, of which H are one too many. D takes the place of the
    fixed signs of the real transform, so no hyperparameter says how many of them are negative.

    A starts as the real transform's, theta uniform on (0, 2 pi). A is the group ``recurrent``,
    theta the group ``phases``.
    """

    settings_type = UnitaryCayleySettings
    formula = "W = (I + A)^-1 (I - A) D, A skew-Hermitian, D = diag(exp(i theta))"
    reference = (
        'Maduranga, Helfrich, Ye, "Complex Unitary Recurrent Neural Networks Using Scaled Cayley '
        'Transform", AAAI 2019, arXiv:1811.04142'
    )
    positions: Tensor

    def __init__(
        self,
        hidden_size: int,
        slots: Sequence[UnitaryCayleySettings],
        generators: Sequence[torch.Generator],
    ) -> None:
        super().__init__(hidden_size, slots, generators)
        self.skew = SkewSymmetric(hidden_size, slots, generators)
        rows, columns = torch.triu_indices(hidden_size, hidden_size)
        self.symmetric = nn.Parameter(torch.zeros(len(slots), len(rows)))

        def draw(_: UnitaryCayleySettings, generator: torch.Generator) -> Tensor:
            return uniform(0, 2 * math.pi, hidden_size, generator=generator)

        self.theta = stack_slots(slots, generators, draw)
        self.phase_ratio = slot_vector(slots, lambda slot: slot.phase_learning_rate_ratio)
        self.phase_optimizer = slots[0].phase_optimizer
        # Derived from the size alone: no part of a checkpoint.
        positions = torch.zeros(hidden_size, hidden_size, dtype=torch.int64)
        positions[rows, columns] = positions[columns, rows] = torch.arange(len(rows))
        self.register_buffer("positions", positions, persistent=False)

    @classmethod
    def parameter_count(cls, hidden_size: int, settings: RecurrentSettings) -> int:
        return hidden_size**2 + hidden_size

    @classmethod
    def state_size(cls, hidden_size: int, settings: RecurrentSettings) -> int:
        return 2 * hidden_size

    def matrix(self) -> Tensor:
        # One slot at a time, as in the real transform; and complex kernels of several slots at
        # once round otherwise.
        slots = zip(self.skew(), self.symmetric, self.theta, strict=True)
        return torch.stack([real_form(self._transform(*slot)) for slot in slots])

    def parameter_groups(self) -> list[ParameterGroup]:
        """Two groups without weight decay, which would pull W towards the identity."""
        phases = ParameterGroup(
            name="phases",
            parameters=(self.theta,),
            learning_rate_ratio=self.phase_ratio,
            decay=False,
            optimizer=self.phase_optimizer,
        )
        recurrent = recurrent_group(self.slots, [self.skew.upper, self.symmetric], decay=False)
        return [recurrent, phases]

    def _transform(self, antisymmetric: Tensor, symmetric: Tensor, theta: Tensor) -> Tensor:
        A = torch.complex(antisymmetric, symmetric[self.positions])
        identity = torch.eye(self.hidden_size, dtype=A.dtype, device=A.device)
        rotated: Tensor = torch.linalg.solve(identity + A, identity - A)
        return rotated * unit_phase(theta)
