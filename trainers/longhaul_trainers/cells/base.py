"""What every cell is."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from longhaul_trainers.parameter_groups import ParameterGroup
from longhaul_trainers.precision import Precision
from longhaul_trainers.readout import Readout
from longhaul_trainers.settings import Settings, setting

KINDS: Mapping[str, str] = {
    "elman": "h' = phi(W h + V x + b)",
    "residual": "h' = a * h + A h + g * phi(W h + V x + b)",
    "oscillator": "two coupled states, one step of a differential equation",
    "gated": "gates that read h and x",
    "diagonal": "h' = phi(u * h + V x + b), each unit by itself",
    "linear": "h' = a * h + b, where a and b do not read h",
    "memory": "a linear memory of the past that h reads and writes",
    "other": "none of these",
}
"""Recurrences by name, in the order in which they are listed."""

State = tuple[Tensor, ...]
"""A cell's state between two scans, each tensor of shape (P, B, ...)."""


@dataclass(frozen=True, kw_only=True)
class CellSettings(Settings):
    """What every cell has."""

    hidden_size: int = setting(128, ge=1, structural=True, help="number of hidden units H")
    parameters: int | None = setting(
        None,
        ge=1,
        structural=True,
        help="trainable parameters, readout included, instead of hidden_size: takes the nearest",
    )


class Cell(nn.Module, ABC):
    """P independent copies of one recurrent layer.

    Args:
        input_size: I.
        slots: the settings of each of the P slots, of equal structure.
        generators: one CPU generator a slot, from which that slot's parameters are drawn.

    A subclass sets the class attributes below. They are what listings and documents show, and
    tests hold them against the code.
    """

    settings_type: ClassVar[type[CellSettings]]
    kind: ClassVar[str] = "other"
    """Which recurrence it is, one of `KINDS`."""
    equations: ClassVar[str]
    """The equations as plain text, one a line."""
    reference: ClassVar[str] = ""
    """Authors, title, venue, arXiv number."""
    bibtex: ClassVar[str] = ""
    """The entry to cite, complete."""
    differs: ClassVar[str] = ""
    """What differs from the paper or from its authors' program; empty where nothing does."""
    count_formula: ClassVar[str] = ""
    """Trainable parameters of cell alone under default settings, as an arithmetic expression (also
    Python's) in n, the hidden size, m, the input size, and names of settings."""
    search_ranges: ClassVar[Mapping[str, str]] = {}
    """Where to search: a setting (or ``training.optimizer.learning_rate``) and its hole as a space
    writes it, for example ``{loguniform: [0.01, 1]}``; the authors' ranges where they are known."""

    def __init__(
        self,
        input_size: int,
        slots: Sequence[CellSettings],
        generators: Sequence[torch.Generator],
    ) -> None:
        super().__init__()
        if len(slots) != len(generators):
            raise ValueError(f"{len(slots)} slots but {len(generators)} generators")
        self.slots = tuple(slots)
        self.input_size = input_size
        self.hidden_size = slots[0].hidden_size
        self.pack_size = len(slots)
        self.precision: Precision = "float32"
        """What its scan is told; one of `precisions`."""

    @property
    def output_size(self) -> int:
        """Size of one output vector."""
        return self.output_size_for(self.slots[0])

    @classmethod
    def output_size_for(cls, settings: CellSettings) -> int:
        """Size of one output vector, the hidden size unless a cell says otherwise."""
        return settings.hidden_size

    @classmethod
    @abstractmethod
    def parameter_count(cls, input_size: int, settings: CellSettings) -> int:
        """Number of trainable parameters of one slot, by formula, readout excluded."""

    @classmethod
    def precisions(cls, settings: CellSettings) -> tuple[Precision, ...]:
        """What ``training.precision`` may be, float32 first: what its scan is written for."""
        return ("float32",)

    def initial_state(self, inputs: Tensor) -> State:
        """The cell's own initial state, with its gradient where it is learnt.

        A cell needs it where a task carries the state on from batch to batch, for there the slots
        of a pack start over at different steps.

        Args:
            inputs: of which size of the batch, type and device matter.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say what state it begins with")

    @abstractmethod
    def forward(self, inputs: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Runs the cell over time.

        Args:
            inputs: shape (T, P, B, I).
            state: where to start; None for the cell's own initial state.

        Returns:
            The outputs of all steps, shape (T, P, B, O), and the state after the last.
        """

    def read(
        self, inputs: Tensor, readout: Readout, state: State | None = None
    ) -> tuple[Tensor, State]:
        """Runs the cell over time and reads its outputs, which a scan may do in passing.

        Args:
            inputs: shape (T, P, B, I).
            readout: of the outputs.
            state: where to start; None for the cell's own initial state.

        Returns:
            What is read, shape (P, S, B, O) of S steps, and the state after the last.
        """
        hidden, after = self(inputs, state)
        return readout(hidden), after

    def zero_state(self, inputs: Tensor, *sizes: int) -> State:
        """Zeros (P, B, size), one tensor for each size, for inputs (T, P, B, I)."""
        return tuple(inputs.new_zeros(self.pack_size, inputs.shape[2], size) for size in sizes)

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
