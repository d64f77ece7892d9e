"""The function that sorts pairs of units.

Dimensions: P slots, N rows, H hidden units. `longhaul_trainers.nonlinearities` explains the three
forms of a nonlinearity.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from longhaul_trainers.errors import SettingError
from longhaul_trainers.nonlinearities import Nonlinearity, Pullback
from longhaul_trainers.settings import Settings


@dataclass(frozen=True, kw_only=True)
class OPLUSettings(Settings):
    """No settings."""

    name: ClassVar[str] = "oplu"


@final
class OPLU(Nonlinearity):
    """Sorts each pair of adjacent units into (larger, smaller): a permutation, whatever z is.

    So it keeps the norm of every vector, and of every gradient that goes back through it. Where the
    two are equal nothing is exchanged.

    Reference: Chernodub and Nowicki, "Norm-preserving Orthogonal Permutation Linear Unit Activation
    Functions (OPLU)", 2016, arXiv:1604.02313.
    Differs from the program released with Vorontsov et al. 2017 (arXiv:1702.00071), whose function
    of that name returns z as it is: the results of its symbolic assignments are dropped.
    """

    settings_type = OPLUSettings
    formula = "phi(z)_2i = max(z_2i, z_2i+1), phi(z)_2i+1 = min(z_2i, z_2i+1)"
    keeps_inputs = True

    def __init__(
        self,
        hidden_size: int,
        slots: Sequence[OPLUSettings],
        generators: Sequence[torch.Generator],
    ) -> None:
        super().__init__(hidden_size, slots, generators)
        self.check_size(hidden_size)

    @classmethod
    def check_size(cls, hidden_size: int) -> None:
        if hidden_size % 2:
            raise SettingError("hidden_size", f"oplu sorts pairs of units, found {hidden_size}")

    def forward(self, preactivation: Tensor) -> Tensor:
        first, second = _pairs(preactivation)
        exchanged = first < second
        larger = torch.where(exchanged, second, first)
        smaller = torch.where(exchanged, first, second)
        return torch.stack([larger, smaller], -1).flatten(-2)

    def in_place(self) -> Callable[[Tensor], object]:
        return _sort

    def pullback(self, kept: Tensor) -> Pullback:
        return _OPLUPullback(kept)


def _pairs(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Views of the units 0, 2, 4, ... and 1, 3, 5, ..."""
    return rows[..., ::2], rows[..., 1::2]


def _sort(rows: Tensor) -> None:
    first, second = _pairs(rows)
    _exchange(rows, first < second)


def _exchange(rows: Tensor, exchanged: Tensor) -> None:
    first, second = _pairs(rows)
    before = first.clone()
    torch.where(exchanged, second, first, out=first)
    torch.where(exchanged, before, second, out=second)


class _OPLUPullback(Pullback):
    def __init__(self, inputs: Tensor) -> None:
        first, second = _pairs(inputs)
        self._exchanged = (first < second).unbind(1)

    def step(self, index: int, gradient: Tensor) -> None:
        _exchange(gradient, self._exchanged[index])
