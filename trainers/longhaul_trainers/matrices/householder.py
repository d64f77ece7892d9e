"""W = H_n(u_n) ... H_{n-m+1}(u_{n-m+1}): a product of Householder reflections."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from longhaul_trainers.errors import SettingError
from longhaul_trainers.matrices.base import RecurrentMatrix, RecurrentSettings, recurrent_group
from longhaul_trainers.matrices.reflections import Reflections
from longhaul_trainers.parameter_groups import ParameterGroup
from longhaul_trainers.settings import setting


@dataclass(frozen=True, kw_only=True)
class HouseholderSettings(RecurrentSettings):
    """What cells with a product of reflections have."""

    name: ClassVar[str] = "householder"
    reflections: int | None = setting(
        16,
        ge=1,
        structural=True,
        help="number m of reflections, at most hidden_size; null: hidden_size. Below that det W is "
        "(-1)^m for good: do not mix odd and even m in one search unknowingly",
    )

    def reflection_count(self, hidden_size: int) -> int:
        """The number m.

        Raises:
            SettingError: there are more reflections than units.
        """
        if self.reflections is None:
            return hidden_size
        if self.reflections > hidden_size:
            found = f"found {self.reflections} reflections of {hidden_size} hidden units"
            raise SettingError("reflections", f"{found}; expected at most as many, or null")
        return self.reflections


@final
class HouseholderMatrix(RecurrentMatrix):
    """W = H_n(u_n) ... H_{n-m+1}(u_{n-m+1}), H_k a reflection of the last k coordinates.

    Orthogonal for all m. With m = n every orthogonal matrix is reached: the last factor then
    multiplies one coordinate by u_1 = 1 or -1. With m < n it has determinant (-1)^m, so that odd
    and even m search two sets of matrices that no path joins.

    The u start uniform on their spheres (normal, then unit length; the deviation 0.01 of the
    authors' program drops out) and are scaled to unit length after every step, u_1 to its sign. As
    the formula divides by |u|^2, this changes no W (but for u_1); it keeps the angle that a step of
    some size turns u by. So u_1 changes sign only where one single step takes it over 0, as in the
    authors' program: at the usual learning rates the determinant stays the drawn one.
    """

    settings_type = HouseholderSettings
    formula = "W = H_n(u_n) ... H_{n-m+1}(u_{n-m+1}), H_k(u) = I - 2 u u^T / |u|^2 on the last k"
    reference = (
        'Mhammedi, Hellicar, Rahman, Bailey, "Efficient Orthogonal Parametrisation of Recurrent '
        'Neural Networks Using Householder Reflections", ICML 2017, arXiv:1612.00188'
    )

    def __init__(
        self,
        hidden_size: int,
        slots: Sequence[HouseholderSettings],
        generators: Sequence[torch.Generator],
    ) -> None:
        super().__init__(hidden_size, slots, generators)
        count = slots[0].reflection_count(hidden_size)

        def draw(_: HouseholderSettings, generator: torch.Generator) -> Tensor:
            return torch.randn(count, hidden_size, generator=generator)

        self.reflections = Reflections(hidden_size, count, slots, generators, draw)
        self.reflections.normalise()

    @classmethod
    def parameter_count(cls, hidden_size: int, settings: RecurrentSettings) -> int:
        if not isinstance(settings, HouseholderSettings):
            raise TypeError(f"expected settings of reflections, found {settings!r}")
        return Reflections.parameter_count(hidden_size, settings.reflection_count(hidden_size))

    def matrix(self) -> Tensor:
        product: Tensor = self.reflections()
        return product

    def parameter_groups(self) -> list[ParameterGroup]:
        """One group without weight decay, which would act on lengths alone."""
        return [recurrent_group(self.slots, [self.reflections.entries], decay=False)]

    def after_step(self) -> None:
        self.reflections.normalise()
