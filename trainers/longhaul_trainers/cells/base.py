"""What every cell is."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from longhaul_trainers.parameter_groups import ParameterGroup
from longhaul_trainers.settings import Settings, setting

State = tuple[Tensor, ...]
"""A cell's state between two scans, each tensor of shape (P, B, H)."""


@dataclass(frozen=True, kw_only=True)
class CellSettings(Settings):
    """What every cell has."""

    hidden_size: int = setting(128, ge=1, structural=True, help="number of hidden units H")


class Cell(nn.Module, ABC):
    """P independent copies of one recurrent layer.

    Args:
        input_size: I.
        slots: the settings of each of the P slots, of equal structure.
        generators: one CPU generator a slot, from which that slot's parameters are drawn.

    A subclass sets ``settings_type`` and ``equations`` and may set ``reference``.
    """

    settings_type: ClassVar[type[CellSettings]]
    equations: ClassVar[str]
    """The equations as plain text, one a line."""
    reference: ClassVar[str] = ""
    """Authors, title, venue, arXiv number."""

    def __init__(
        self,
        input_size: int,
        slots: Sequence[CellSettings],
        generators: Sequence[torch.Generator],
    ) -> None:
        super().__init__()
        if len(slots) != len(generators):
            raise ValueError(f"{len(slots)} slots but {len(generators)} generators")
        self.input_size = input_size
        self.hidden_size = slots[0].hidden_size
        self.pack_size = len(slots)

    @property
    def output_size(self) -> int:
        """Size of one output vector, the hidden size unless a cell says otherwise."""
        return self.hidden_size

    @classmethod
    @abstractmethod
    def parameter_count(cls, input_size: int, settings: CellSettings) -> int:
        """Number of trainable parameters of one slot, by formula, readout excluded."""

    @abstractmethod
    def forward(self, inputs: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Runs the cell over time.

        Args:
            inputs: shape (T, P, B, I).
            state: where to start; None for the cell's own initial state.

        Returns:
            The outputs of all steps, shape (T, P, B, H), and the state after the last.
        """

    @abstractmethod
    def parameter_groups(self) -> list[ParameterGroup]:
        """All parameters, each in exactly one group."""

    def after_step(self) -> None:
        """Called after each optimiser step; does nothing by default."""

    def penalty(self) -> Tensor | None:
        """A term (P,) that training adds to the task loss and logs apart; None: there is none."""
        return None

    def diagnostics(self) -> dict[str, Tensor]:
        """Numbers (P,) to log under ``recurrent/``; empty without a recurrent matrix."""
        return {}
