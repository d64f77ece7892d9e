"""W = U S V^T with reflections for U and V and singular values near 1."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from longhaul_trainers.errors import SettingError
from longhaul_trainers.initialisation import glorot_uniform
from longhaul_trainers.matrices.base import RecurrentMatrix, RecurrentSettings, recurrent_group
from longhaul_trainers.matrices.reflections import Reflections
from longhaul_trainers.parameter_groups import ParameterGroup
from longhaul_trainers.settings import setting
from longhaul_trainers.slots import joined, slot_vector


@dataclass(frozen=True, kw_only=True)
class SVDHouseholderSettings(RecurrentSettings):
    """What cells with such a singular value decomposition have."""

    name: ClassVar[str] = "svd_householder"
    reflections: int | None = setting(
        None,
        ge=1,
        structural=True,
        help="number of reflections in each of U and V, at most hidden_size; null: a quarter of it",
    )
    margin: float = setting(0.01, ge=0, help="r: singular values stay within 1 - r and 1 + r")

    def reflection_count(self, hidden_size: int) -> int:
        """The number of reflections in each of U and V.

        Raises:
            SettingError: there are more of them than units.
        """
        if self.reflections is None:
            return max(1, hidden_size // 4)
        if self.reflections > hidden_size:
            found = f"found {self.reflections} reflections of {hidden_size} hidden units"
            raise SettingError("reflections", f"{found}; expected at most as many, or null")
        return self.reflections


@final
class SVDHouseholderMatrix(RecurrentMatrix):
    """W = U diag(s) V^T, U and V products of Householder reflections, s within 1 ± r.

    With all n reflections in each, every matrix with such singular values is reached. U and V are
    drawn independently, both as Glorot uniform numbers of which the part before the diagonal is
    left out; p starts at 0, so that W starts orthogonal. The vectors are not normalised (but for
    the sign u_1, v_1): their length changes no W and grows as they are trained, which slows the
    reflections down.
    """

    settings_type = SVDHouseholderSettings
    formula = (
        "W = U diag(s) V^T, s = 1 + 2 r (sigmoid(p) - 1/2), U = H_n(u_n) ... H_{n-k+1}(u_{n-k+1}), "
        "V = H_n(v_n) ... H_{n-k+1}(v_{n-k+1})"
    )
    reference = (
        'Zhang, Lei, Dhillon, "Stabilizing Gradients for Deep Neural Networks via Efficient SVD '
        'Parameterization", ICML 2018, arXiv:1803.09327'
    )
    margin: Tensor

    def __init__(
        self,
        hidden_size: int,
        slots: Sequence[SVDHouseholderSettings],
        generators: Sequence[torch.Generator],
    ) -> None:
        super().__init__(hidden_size, slots, generators)
        count = slots[0].reflection_count(hidden_size)

        def draw(_: SVDHouseholderSettings, generator: torch.Generator) -> Tensor:
            return glorot_uniform(count, hidden_size, generator)

        self.left = Reflections(hidden_size, count, slots, generators, draw)
        self.right = Reflections(hidden_size, count, slots, generators, draw)
        self.after_step()
        self.spectrum = nn.Parameter(torch.zeros(len(slots), hidden_size))
        self.register_buffer("margin", slot_vector(slots, lambda slot: slot.margin))

    @classmethod
    def parameter_count(cls, hidden_size: int, settings: RecurrentSettings) -> int:
        if not isinstance(settings, SVDHouseholderSettings):
            raise TypeError(f"expected settings of reflections, found {settings!r}")
        count = settings.reflection_count(hidden_size)
        return 2 * Reflections.parameter_count(hidden_size, count) + hidden_size

    def matrix(self) -> Tensor:
        parts = zip(self.left(), self.spectrum, self.margin, self.right(), strict=True)
        # one slot at a time: a sigmoid over the pack would round by the place in its vector loop
        return joined([(U * (1 + 2 * r * (torch.sigmoid(p) - 0.5))) @ V.mT for U, p, r, V in parts])

    def parameter_groups(self) -> list[ParameterGroup]:
        """One group without weight decay."""
        parameters = [self.left.entries, self.right.entries, self.spectrum]
        return [recurrent_group(self.slots, parameters, decay=False)]

    def after_step(self) -> None:
        self.left.normalise_sign()
        self.right.normalise_sign()
