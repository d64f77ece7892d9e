"""What the cells h' = phi(W h + V x + b) share."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn

from longhaul_trainers.catalogue import NONLINEARITIES
from longhaul_trainers.cells.base import Cell, CellSettings, State
from longhaul_trainers.matrices.base import RecurrentMatrix, RecurrentSettings
from longhaul_trainers.nonlinearities import Nonlinearity, TanhSettings
from longhaul_trainers.parameter_groups import ParameterGroup
from longhaul_trainers.scans.elman import elman_scan
from longhaul_trainers.scans.inputs import hoisted_input_product
from longhaul_trainers.settings import Settings, component
from longhaul_trainers.slots import stack_slots


@dataclass(frozen=True, kw_only=True)
class ElmanSettings(CellSettings, RecurrentSettings):
    """What every Elman cell has."""

    nonlinearity: Settings = component(NONLINEARITIES, TanhSettings(), help="phi")


S = TypeVar("S", bound=ElmanSettings)


class ElmanCell(Cell, Generic[S]):
    """An Elman cell: one recurrent matrix, one nonlinearity, h0 = 0.

    The outputs are the hidden states; the carried state is ``(h,)``. A subclass says how W and V
    are made and whether there is a bias b (which starts at 0) besides the nonlinearity's own.

    A slot's generator is drawn from in this order: W, V, nonlinearity.
    """

    has_bias: ClassVar[bool]

    def __init__(
        self,
        input_size: int,
        slots: Sequence[S],
        generators: Sequence[torch.Generator],
    ) -> None:
        super().__init__(input_size, slots, generators)
        self.recurrent = self.make_recurrent(slots, generators)

        def draw(slot: S, generator: torch.Generator) -> Tensor:
            return self.draw_input_weight(self.hidden_size, input_size, generator)

        self.input_weight = stack_slots(slots, generators, draw)
        self.bias = None
        if self.has_bias:
            self.bias = nn.Parameter(torch.zeros(len(slots), self.hidden_size))
        nonlinearity: type[Nonlinearity] = NONLINEARITIES.get(slots[0].nonlinearity.name)
        self.nonlinearity = nonlinearity(
            self.hidden_size, [slot.nonlinearity for slot in slots], generators
        )

    @classmethod
    @abstractmethod
    def make_recurrent(
        cls, slots: Sequence[S], generators: Sequence[torch.Generator]
    ) -> RecurrentMatrix:
        """The recurrent matrices of the pack."""

    @staticmethod
    @abstractmethod
    def draw_input_weight(hidden_size: int, input_size: int, generator: torch.Generator) -> Tensor:
        """One slot's initial V, shape (H, I)."""

    @staticmethod
    @abstractmethod
    def recurrent_parameter_count(hidden_size: int) -> int:
        """Number of free parameters of one slot's W."""

    @classmethod
    def parameter_count(cls, input_size: int, settings: CellSettings) -> int:
        if not isinstance(settings, ElmanSettings):
            raise TypeError(f"expected settings of an Elman cell, found {settings!r}")
        size = settings.hidden_size
        nonlinearity: type[Nonlinearity] = NONLINEARITIES.get(settings.nonlinearity.name)
        return (
            cls.recurrent_parameter_count(size)
            + size * input_size
            + size * cls.has_bias
            + nonlinearity.parameter_count(size)
        )

    def forward(self, inputs: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        if state is None:
            initial = inputs.new_zeros(self.pack_size, inputs.shape[2], self.hidden_size)
        else:
            (initial,) = state
        products = hoisted_input_product(inputs, self.input_weight, self.bias)
        hidden = elman_scan(self.recurrent.matrix(), products, initial, self.nonlinearity)
        return hidden, (hidden[-1],)

    def parameter_groups(self) -> list[ParameterGroup]:
        main = [self.input_weight, *self.nonlinearity.parameters()]
        if self.bias is not None:
            main.append(self.bias)
        ratio = torch.ones(self.pack_size)
        return [*self.recurrent.parameter_groups(), ParameterGroup("main", tuple(main), ratio)]

    def after_step(self) -> None:
        self.recurrent.after_step()

    def penalty(self) -> Tensor | None:
        return self.recurrent.penalty()

    def diagnostics(self) -> dict[str, Tensor]:
        return self.recurrent.diagnostics()
