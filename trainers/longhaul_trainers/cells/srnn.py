"""SRNN: the hidden state is shifted by one unit; only what is added to it is learnt."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from longhaul_trainers.catalogue import NONLINEARITIES
from longhaul_trainers.cells.base import Cell, CellSettings, State
from longhaul_trainers.initialisation import uniform
from longhaul_trainers.matrices.shift import ShiftMatrix, ShiftSettings
from longhaul_trainers.nonlinearities import Nonlinearity, ReLUSettings
from longhaul_trainers.parameter_groups import ParameterGroup
from longhaul_trainers.precision import PRECISIONS, Precision
from longhaul_trainers.scans.elman import elman_scan
from longhaul_trainers.settings import Settings, component, setting
from longhaul_trainers.slots import stack_slots


@dataclass(frozen=True, kw_only=True)
class SRNNSettings(CellSettings):
    """Settings of `SRNN`; defaults as published for the copying problem."""

    name: ClassVar[str] = "srnn"
    nonlinearity: Settings = component(NONLINEARITIES, ReLUSettings(), help="phi")
    input_hidden_size: int = setting(
        8, ge=1, structural=True, help="width of the hidden layers of f, by which x enters"
    )
    input_layers: int = setting(
        1, ge=1, structural=True, help="number of hidden layers of f, by which x enters"
    )
    gated: bool = setting(True, structural=True, help="whether f(x) is gated by sigmoid(W_s x)")

    def layer_sizes(self, input_size: int) -> list[int]:
        """Widths of f from its input to its output."""
        return [input_size, *[self.input_hidden_size] * self.input_layers, self.hidden_size]


@final
class SRNN(Cell):
    """A recurrent network whose recurrent matrix is a fixed shift.

    f is a perceptron with ``input_layers`` hidden layers of rectifiers. All weights and biases
    start uniform on ±1 / sqrt(fan in); h0 is 0. The authors used RMSprop at 0.001 or Adam at
    0.0001 without clipping, and f with one hidden layer of 8 units for copying.

    What enters a unit passes it again n steps later: a ``hidden_size`` below the delay makes inputs
    of different times meet in one unit. The carried state is ``(h,)``.
    """

    settings_type = SRNNSettings
    kind = "elman"
    equations = (
        "h' = phi(S h + b(x)), (S h)_i = h_{i-1}, (S h)_1 = h_n\nb(x) = f(x) * sigmoid(W_s x + b_s)"
    )
    reference = ShiftMatrix.reference
    bibtex = """@inproceedings{rotman2021shuffling,
  title = {Shuffling Recurrent Neural Networks},
  author = {Rotman, Michael and Wolf, Lior},
  booktitle = {AAAI Conference on Artificial Intelligence},
  year = {2021},
}"""
    differs = (
        "Categorical inputs are one-hot and meet the first layer of f and the gate as they are, "
        "where the authors' program puts a learnt embedding before both. h0 has no gradient, as in "
        "their program: their fast kernel returns none."
    )
    count_formula = (
        "(m + 1) * input_hidden_size"
        " + (input_layers - 1) * (input_hidden_size + 1) * input_hidden_size"
        " + (input_hidden_size + 1) * n + (m + 1) * n"
    )
    search_ranges: ClassVar = {
        "training.optimizer.learning_rate": "{loguniform: [1e-4, 1e-2]}",
        "input_hidden_size": "{choice: [8, 16, 32, 64]}",
        "input_layers": "{choice: [1, 2, 3]}",
    }

    def __init__(
        self,
        input_size: int,
        slots: Sequence[SRNNSettings],
        generators: Sequence[torch.Generator],
    ) -> None:
        super().__init__(input_size, slots, generators)
        sizes = slots[0].layer_sizes(input_size)
        shift = ShiftSettings()
        self.shift = ShiftMatrix(self.hidden_size, [shift] * len(slots), generators)
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        layers = list(pairwise(sizes))
        if slots[0].gated:
            layers.append((input_size, self.hidden_size))
        for below, above in layers:
            self.weights.append(_drawn(slots, generators, below, above, below))
            self.biases.append(_drawn(slots, generators, below, above))
        nonlinearity: type[Nonlinearity] = NONLINEARITIES.get(slots[0].nonlinearity.name)
        phis = [slot.nonlinearity for slot in slots]
        self.nonlinearity = nonlinearity(self.hidden_size, phis, generators)
        self.gated = slots[0].gated

    @classmethod
    def parameter_count(cls, input_size: int, settings: CellSettings) -> int:
        if not isinstance(settings, SRNNSettings):
            raise TypeError(f"expected settings of SRNN, found {settings!r}")
        sizes = settings.layer_sizes(input_size)
        nonlinearity: type[Nonlinearity] = NONLINEARITIES.get(settings.nonlinearity.name)
        return (
            sum((below + 1) * above for below, above in pairwise(sizes))
            + (input_size + 1) * settings.hidden_size * settings.gated
            + nonlinearity.parameter_count(settings.hidden_size)
        )

    @classmethod
    def precisions(cls, settings: CellSettings) -> tuple[Precision, ...]:
        return PRECISIONS

    def initial_state(self, inputs: Tensor) -> State:
        return self.zero_state(inputs, self.hidden_size)

    def forward(self, inputs: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        (initial,) = self.initial_state(inputs) if state is None else state
        # One slot at a time, as `scans.inputs` explains.
        added = [self._added(x, p) for p, x in enumerate(inputs.unbind(1))]
        products = torch.stack(added).transpose(0, 1)
        hidden = elman_scan(
            self.shift.matrix(), products, initial, self.nonlinearity, self.precision
        )
        return hidden, (hidden[-1],)

    def _added(self, inputs: Tensor, slot: int) -> Tensor:
        """b(x) of one slot for x of shape (T, B, I)."""
        flat = inputs.flatten(0, 1)
        layers = [(w[slot].mT, b[slot]) for w, b in zip(self.weights, self.biases, strict=True)]
        gate = layers.pop() if self.gated else None
        *hidden_layers, (last, bias) = layers
        features = flat
        for weight, shift in hidden_layers:
            features = torch.addmm(shift, features, weight).relu()
        added: Tensor = torch.addmm(bias, features, last)
        if gate is not None:
            added = added * torch.addmm(gate[1], flat, gate[0]).sigmoid()
        return added.view(*inputs.shape[:2], -1)

    def parameter_groups(self) -> list[ParameterGroup]:
        """One group."""
        return [ParameterGroup("main", tuple(self.parameters()), torch.ones(self.pack_size))]


def _drawn(
    slots: Sequence[SRNNSettings],
    generators: Sequence[torch.Generator],
    fan_in: int,
    *shape: int,
) -> nn.Parameter:
    """Uniform on ±1 / sqrt(fan in), of so many rows and columns."""
    bound = 1 / math.sqrt(fan_in)
    return stack_slots(
        slots, generators, lambda _, drawn: uniform(-bound, bound, *shape, generator=drawn)
    )
