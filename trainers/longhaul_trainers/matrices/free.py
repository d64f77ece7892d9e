"""An unconstrained recurrent matrix."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from longhaul_trainers.initialisation import glorot_normal, glorot_uniform, haar_orthogonal
from longhaul_trainers.matrices.base import RecurrentMatrix, RecurrentSettings, recurrent_group
from longhaul_trainers.matrices.skew_init import draw_block_angles
from longhaul_trainers.parameter_groups import ParameterGroup
from longhaul_trainers.settings import setting
from longhaul_trainers.slots import stack_slots

RecurrentInit = Literal[
    "glorot", "glorot_normal", "orthogonal", "identity", "chain", "henaff", "positive"
]


def draw_recurrent(
    init: RecurrentInit, gain: float, size: int, generator: torch.Generator
) -> Tensor:
    """An initial matrix (size, size).

    Args:
        init: ``glorot`` (uniform), ``glorot_normal``, ``orthogonal`` (Haar), ``identity``,
            ``chain``: unit i feeds unit i + 1 and nothing else, the most non-normal of the
            orthogonal-like starts (Orhan and Pitkow, ICLR 2020, arXiv:1905.13715),
            ``henaff``: rotations of pairs of units by angles uniform on (-pi, pi) (Henaff, Szlam,
            LeCun, ICML 2016, arXiv:1602.06662), or
            ``positive``: (A + I) / e with A = R^T R / H, R normal, and e the largest eigenvalue of
            A + I, made for rectifiers (Talathi and Vartak 2015, arXiv:1511.03771).
        gain: by which it is multiplied.
        size: H.
        generator: the slot's own.
    """
    if init == "glorot":
        return gain * glorot_uniform(size, size, generator)
    if init == "glorot_normal":
        return gain * glorot_normal(size, size, generator)
    if init == "orthogonal":
        return gain * haar_orthogonal(size, generator)
    if init == "chain":
        return gain * torch.diag(torch.ones(size - 1), -1)
    if init == "henaff":
        return gain * _pairwise_rotations(draw_block_angles("henaff", size // 2, generator), size)
    if init == "positive":
        root = torch.randn(size, size, generator=generator, dtype=torch.float64)
        shifted = root.mT @ root / size + torch.eye(size, dtype=torch.float64)
        largest: Tensor = torch.linalg.matrix_norm(shifted, 2)
        return gain * (shifted / largest).float()
    return gain * torch.eye(size)


def _pairwise_rotations(angles: Tensor, size: int) -> Tensor:
    """Blocks [[cos, sin], [-sin, cos]], as exp gives of the blocks of `skew_init`, then ones."""
    rotations = torch.eye(size)
    first = torch.arange(0, size - 1, 2)
    rotations[first, first] = rotations[first + 1, first + 1] = angles.cos()
    rotations[first, first + 1] = angles.sin()
    rotations[first + 1, first] = -angles.sin()
    return rotations


@dataclass(frozen=True, kw_only=True)
class FreeSettings(RecurrentSettings):
    """Initial values of an unconstrained matrix."""

    name: ClassVar[str] = "free"
    recurrent_init: RecurrentInit = setting("orthogonal", help="initial W")
    recurrent_gain: float = setting(1.0, ge=0, help="by which the initial W is multiplied")
    penalty: Literal["none", "orthogonality"] = setting(
        "none", structural=True, help="orthogonality: lambda |W^T W - I|^2, of which lambda is next"
    )
    penalty_weight: float = setting(1e-3, ge=0, help="lambda, where there is a penalty")


@final
class FreeMatrix(RecurrentMatrix):
    """W itself is the parameter: H^2 of them, weight decay included.

    The penalty is the soft constraint of Vorontsov et al. 2017 (arXiv:1702.00071), equation 7.
    """

    settings_type = FreeSettings
    formula = "W free"
    reference = 'Elman, "Finding Structure in Time", Cognitive Science 14(2), 1990'

    def __init__(
        self,
        hidden_size: int,
        slots: Sequence[FreeSettings],
        generators: Sequence[torch.Generator],
    ) -> None:
        super().__init__(hidden_size, slots, generators)
        self._settings = tuple(slots)

        def draw(slot: FreeSettings, generator: torch.Generator) -> Tensor:
            return draw_recurrent(slot.recurrent_init, slot.recurrent_gain, hidden_size, generator)

        self.weight = stack_slots(slots, generators, draw)

    @classmethod
    def parameter_count(cls, hidden_size: int, settings: RecurrentSettings) -> int:
        return hidden_size**2

    def matrix(self) -> Tensor:
        return self.weight

    def penalty(self) -> Tensor | None:
        if self._settings[0].penalty == "none":
            return None
        identity = torch.eye(self.hidden_size, dtype=self.weight.dtype, device=self.weight.device)
        return torch.stack(
            [
                slot.penalty_weight * (W.mT @ W - identity).square().sum()
                for slot, W in zip(self._settings, self.weight, strict=True)
            ]
        )

    def parameter_groups(self) -> list[ParameterGroup]:
        return [recurrent_group(self.slots, [self.weight], decay=True)]
