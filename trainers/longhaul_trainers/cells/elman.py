"""What the cells h' = phi(W h + V x + b) share."""

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, Literal, TypeVar

import torch
from torch import Tensor, nn

from longhaul_trainers.catalogue import NONLINEARITIES
from longhaul_trainers.cells.base import Cell, CellSettings, State
from longhaul_trainers.initialisation import uniform
from longhaul_trainers.matrices.base import RecurrentMatrix, RecurrentSettings
from longhaul_trainers.nonlinearities import Nonlinearity, TanhSettings
from longhaul_trainers.parameter_groups import ParameterGroup
from longhaul_trainers.precision import PRECISIONS, Precision
from longhaul_trainers.readout import Readout
from longhaul_trainers.scans.driven_elman import driven_elman_scan
from longhaul_trainers.scans.read_elman import read_elman_scan
from longhaul_trainers.settings import Settings, component, setting
from longhaul_trainers.slots import stack_slots


@dataclass(frozen=True, kw_only=True)
class BareElmanSettings(CellSettings):
    """What every Elman cell has besides its recurrent matrix."""

    nonlinearity: Settings = component(NONLINEARITIES, TanhSettings(), help="phi")
    initial_state: Literal["zero", "learned", "learned_from_zero"] = setting(
        "zero",
        structural=True,
        help="h0: 0, or a parameter that starts uniform on ±sqrt(3 / 2n), or one that starts at 0",
    )


@dataclass(frozen=True, kw_only=True)
class ElmanSettings(BareElmanSettings, RecurrentSettings):
    """What every Elman cell has that is its recurrent matrix's settings too."""


S = TypeVar("S", bound=BareElmanSettings)


class ElmanCell(Cell, Generic[S]):
    """An Elman cell: one recurrent matrix, one nonlinearity.

    The outputs are the hidden states; the carried state is ``(h,)``. A subclass says how W and V
    are made and whether there is a bias b (which starts at 0) besides the nonlinearity's own. With
    a complex recurrent matrix, h, V and b hold the real parts of all units, then the imaginary
    ones: N = 2H rows.

    A slot's generator is drawn from in this order: W, V, nonlinearity, h0.
    """

    kind = "elman"
    has_bias: ClassVar[bool]
    matrix_type: ClassVar[type[RecurrentMatrix]]
    """What W is; the slots' settings derive from its settings, or `matrix_settings` makes them."""

    def __init__(
        self,
        input_size: int,
        slots: Sequence[S],
        generators: Sequence[torch.Generator],
    ) -> None:
        super().__init__(input_size, slots, generators)
        self.recurrent = self.make_recurrent(slots, generators)
        size = self.output_size

        def draw(slot: S, generator: torch.Generator) -> Tensor:
            return self.draw_input(slot, size, input_size, generator)

        self.input_weight = stack_slots(slots, generators, draw)
        self.bias = None
        if self.biased(slots[0]):
            self.bias = nn.Parameter(torch.zeros(len(slots), size))
        nonlinearity: type[Nonlinearity] = NONLINEARITIES.get(slots[0].nonlinearity.name)
        self.nonlinearity = nonlinearity(size, [slot.nonlinearity for slot in slots], generators)
        self.initial = None
        if slots[0].initial_state == "learned_from_zero":
            self.initial = nn.Parameter(torch.zeros(len(slots), size))
        elif slots[0].initial_state == "learned":
            bound = math.sqrt(3 / (2 * self.hidden_size))
            self.initial = stack_slots(
                slots, generators, lambda _, drawn: uniform(-bound, bound, size, generator=drawn)
            )

    @classmethod
    def matrix_of(cls, settings: S) -> type[RecurrentMatrix]:
        """What W is under these settings."""
        return cls.matrix_type

    @classmethod
    def matrix_settings(cls, settings: S) -> RecurrentSettings:
        """One slot's settings of the recurrent matrix: the cell's own, unless it says otherwise."""
        if not isinstance(settings, RecurrentSettings):
            raise TypeError(f"expected settings of a recurrent matrix too, found {settings!r}")
        return settings

    @classmethod
    def make_recurrent(
        cls, slots: Sequence[S], generators: Sequence[torch.Generator]
    ) -> RecurrentMatrix:
        """The recurrent matrices of the pack."""
        matrix_slots = [cls.matrix_settings(slot) for slot in slots]
        return cls.matrix_of(slots[0])(slots[0].hidden_size, matrix_slots, generators)

    @classmethod
    def biased(cls, settings: S) -> bool:
        """Whether there is a bias b."""
        return cls.has_bias

    @classmethod
    def draw_input(cls, slot: S, rows: int, input_size: int, generator: torch.Generator) -> Tensor:
        """One slot's initial V, shape (N, I), where it depends on settings."""
        return cls.draw_input_weight(rows, input_size, generator)

    @staticmethod
    @abstractmethod
    def draw_input_weight(rows: int, input_size: int, generator: torch.Generator) -> Tensor:
        """One slot's initial V, shape (N, I)."""

    @classmethod
    def recurrent_parameter_count(cls, settings: S) -> int:
        """Number of free parameters of one slot's W."""
        matrix_type = cls.matrix_of(settings)
        return matrix_type.parameter_count(settings.hidden_size, cls.matrix_settings(settings))

    @classmethod
    def output_size_for(cls, settings: CellSettings) -> int:
        own = cls._own(settings)
        matrix_type = cls.matrix_of(own)
        return matrix_type.state_size(own.hidden_size, cls.matrix_settings(own))

    @classmethod
    def _own(cls, settings: CellSettings) -> S:
        if not isinstance(settings, BareElmanSettings):
            raise TypeError(f"expected settings of an Elman cell, found {settings!r}")
        return settings  # type: ignore[return-value]

    @classmethod
    def parameter_count(cls, input_size: int, settings: CellSettings) -> int:
        own = cls._own(settings)
        size = cls.output_size_for(own)
        nonlinearity: type[Nonlinearity] = NONLINEARITIES.get(own.nonlinearity.name)
        return (
            cls.recurrent_parameter_count(own)
            + size * input_size
            + size * cls.biased(own)
            + nonlinearity.parameter_count(size)
            + size * (own.initial_state != "zero")
        )

    @classmethod
    def precisions(cls, settings: CellSettings) -> tuple[Precision, ...]:
        return PRECISIONS

    def forward(self, inputs: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        (initial,) = self.initial_state(inputs) if state is None else state
        driven = (inputs, self.input_weight, self.bias)
        hidden = driven_elman_scan(
            self.recurrent.matrix(), *driven, initial, self.nonlinearity, self.precision
        )
        return hidden, (hidden[-1],)

    def read(
        self, inputs: Tensor, readout: Readout, state: State | None = None
    ) -> tuple[Tensor, State]:
        (initial,) = self.initial_state(inputs) if state is None else state
        driven = (inputs, self.input_weight, self.bias)
        outputs, last = read_elman_scan(
            self.recurrent.matrix(), *driven, initial, self.nonlinearity, readout, self.precision
        )
        return outputs, (last,)

    def initial_state(self, inputs: Tensor) -> State:
        if self.initial is None:
            return self.zero_state(inputs, self.output_size)
        # slot by slot: the sum over the batch in the backward pass must not depend on P
        repeated = [one.expand(inputs.shape[2], -1) for one in self.initial.unbind()]
        return (torch.stack(repeated),)

    def parameter_groups(self) -> list[ParameterGroup]:
        main = [self.input_weight, *self.nonlinearity.parameters()]
        main += [one for one in (self.bias, self.initial) if one is not None]
        ratio = torch.ones(self.pack_size)
        return [*self.recurrent.parameter_groups(), ParameterGroup("main", tuple(main), ratio)]

    def after_step(self) -> None:
        self.recurrent.after_step()

    def penalty(self) -> Tensor | None:
        return self.recurrent.penalty()

    def diagnostics(self) -> dict[str, Tensor]:
        return self.recurrent.diagnostics()
