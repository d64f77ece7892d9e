"""W = U S V^T with singular values near 1 and bases that move along the orthogonal matrices."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import torch
from torch import Tensor, nn

from longhaul_trainers.errors import SettingError
from longhaul_trainers.initialisation import glorot_normal
from longhaul_trainers.matrices.base import RecurrentMatrix, RecurrentSettings
from longhaul_trainers.parameter_groups import ParameterGroup
from longhaul_trainers.settings import setting
from longhaul_trainers.slots import joined, slot_vector


@dataclass(frozen=True, kw_only=True)
class SVDMarginSettings(RecurrentSettings):
    """What cells with such a singular value decomposition have."""

    name: ClassVar[str] = "svd_margin"
    learning_rate_ratio: float = setting(
        0.01, gt=0, help="learning rate of the bases U and V, as a multiple of the trial's"
    )
    spectrum_learning_rate_ratio: float = setting(
        1.0,
        gt=0,
        help="learning rate of the spectrum, as a multiple of the trial's; with a margin m it is "
        "divided by 2 m",
    )
    recurrent_optimizer: Literal["adam", "adamw", "rmsprop", "sgd"] | None = setting(
        None,
        structural=True,
        help="optimiser of the spectrum (the bases move along geodesics); null: the trial's own",
    )
    margin: float | None = setting(
        0.1,
        ge=0,
        help="m: singular values stay within 1 - m and 1 + m; 0 fixes them at 1, null leaves them "
        "free",
    )
    rectified: bool = setting(
        True, structural=True, help="whether singular values below 0 become 0"
    )
    recurrent_init: Literal["orthogonal", "glorot_normal", "identity"] = setting(
        "orthogonal", help="initial W; all but orthogonal need margin: null"
    )
    spectrum_penalty: float = setting(
        0.0, ge=0, help="lambda of the penalty lambda sum (s - 1)^2, a Gaussian prior around 1"
    )
    composite_decay: float = setting(
        0.0, ge=0, help="lambda of the penalty lambda |W|^2, weight decay of the whole W"
    )

    def check(self) -> None:
        """Refuses an initial W whose singular values the margin does not admit."""
        super().check()
        if self.margin is not None and self.recurrent_init != "orthogonal":
            problem = f"{self.recurrent_init} has singular values that no margin holds"
            advice = "expected orthogonal, or margin: null beside it"
            raise SettingError("recurrent_init", f"{problem}; {advice}")


@final
class SVDMarginMatrix(RecurrentMatrix):
    """W = U diag(s) V^T with s within 1 ± m, U and V trained on the orthogonal matrices.

    p starts at 0, that is s at 1, with a margin; without one s = p itself starts at the singular
    values of the initial W. ds/dp is 2 m sigmoid'(p), so the learning rate of p is divided by 2 m:
    then, under an optimiser that takes steps of a given size, s moves as fast under every margin.

    2 H^2 + H numbers are stored; the matrices they make have dimension H^2. Trials with and without
    a margin may share a pack.
    """

    settings_type = SVDMarginSettings
    formula = (
        "W = U diag(s) V^T, U and V orthogonal, s = max(1 + 2 m (sigmoid(p) - 1/2), 0), or "
        "s = max(p, 0) without margin"
    )
    reference = (
        'Vorontsov, Trabelsi, Kadoury, Pal, "On orthogonality and learning recurrent networks '
        'with long term dependencies", ICML 2017, arXiv:1702.00071'
    )

    def __init__(
        self,
        hidden_size: int,
        slots: Sequence[SVDMarginSettings],
        generators: Sequence[torch.Generator],
    ) -> None:
        super().__init__(hidden_size, slots, generators)
        self._settings = tuple(slots)
        drawn = [_draw(*one, hidden_size) for one in zip(slots, generators, strict=True)]
        left, spectrum, right = zip(*drawn, strict=True)
        self.left = nn.Parameter(torch.stack(left))
        self.right = nn.Parameter(torch.stack(right))
        self.spectrum = nn.Parameter(torch.stack(spectrum))

    @classmethod
    def parameter_count(cls, hidden_size: int, settings: RecurrentSettings) -> int:
        return hidden_size * (2 * hidden_size + 1)

    def singular_values(self) -> list[Tensor]:
        """The vector s of each slot, shape (H,)."""
        # One slot at a time: a sigmoid over the pack would round by the place in its vector loop.
        pairs = zip(self._settings, self.spectrum, strict=True)
        return [_singular_values(slot, p) for slot, p in pairs]

    def matrix(self) -> Tensor:
        parts = zip(self.left, self.singular_values(), self.right, strict=True)
        return joined([(U * s) @ V.mT for U, s, V in parts])

    def penalty(self) -> Tensor:
        """Gaussian prior and decay of W, where |W|^2 is the sum of s^2."""
        return joined(
            [
                slot.spectrum_penalty * (s - 1).square().sum()
                + slot.composite_decay * s.square().sum()
                for slot, s in zip(self._settings, self.singular_values(), strict=True)
            ]
        )

    def parameter_groups(self) -> list[ParameterGroup]:
        """The bases, by geodesic descent, and the spectrum; neither with the trial's decay."""
        bases = ParameterGroup(
            name="recurrent",
            parameters=(self.left, self.right),
            learning_rate_ratio=slot_vector(self._settings, lambda slot: slot.learning_rate_ratio),
            decay=False,
            optimizer="geodesic",
        )
        spectrum = ParameterGroup(
            name="spectrum",
            parameters=(self.spectrum,),
            learning_rate_ratio=slot_vector(self._settings, _spectrum_ratio),
            decay=False,
            optimizer=self._settings[0].recurrent_optimizer,
        )
        return [bases, spectrum]


def _singular_values(slot: SVDMarginSettings, p: Tensor) -> Tensor:
    s = p if slot.margin is None else 1 + 2 * slot.margin * (torch.sigmoid(p) - 0.5)
    return s.relu() if slot.rectified else s


def _spectrum_ratio(slot: SVDMarginSettings) -> float:
    if slot.margin is None:
        return slot.spectrum_learning_rate_ratio
    return slot.spectrum_learning_rate_ratio / (2 * slot.margin) if slot.margin else 0.0


def _draw(
    slot: SVDMarginSettings, generator: torch.Generator, size: int
) -> tuple[Tensor, Tensor, Tensor]:
    """One slot's initial U, p and V."""
    direct = slot.margin is None
    if slot.recurrent_init == "identity":
        return torch.eye(size), torch.ones(size), torch.eye(size)
    if slot.recurrent_init == "orthogonal":
        start = torch.randn(size, size, generator=generator, dtype=torch.float64)
    else:
        start = glorot_normal(size, size, generator).double()
    left, values, right = torch.linalg.svd(start)
    if slot.recurrent_init == "orthogonal":
        values = torch.full((size,), float(direct))
    return left.float(), values.float(), right.mT.float()
