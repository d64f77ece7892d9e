"""minGRU and minLSTM: gated cells whose gates do not read the state."""

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeVar, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from longhaul_trainers.cells.base import State
from longhaul_trainers.cells.stack import Layer, StackedCell, StackSettings
from longhaul_trainers.initialisation import uniform
from longhaul_trainers.parameter_groups import ParameterGroup
from longhaul_trainers.scans.inputs import hoisted_input_product
from longhaul_trainers.scans.linear import linear_scan
from longhaul_trainers.scans.slotwise import slotwise
from longhaul_trainers.settings import setting
from longhaul_trainers.slots import stack_slots


@dataclass(frozen=True, kw_only=True)
class MinimalSettings(StackSettings):
    """What minGRU and minLSTM have."""

    candidate: Literal["positive", "linear"] = setting(
        "positive",
        structural=True,
        help="positive: g(W_h x), as the form in logarithms needs it; linear: W_h x",
    )
    expansion: float = setting(
        1.0, gt=0, structural=True, help="states a layer, as a multiple of hidden_size"
    )
    keep_bias: float = setting(0.0, help="initial bias of the gate that keeps the state")

    @property
    def state_size(self) -> int:
        """Number of states of one layer."""
        return max(1, round(self.expansion * self.hidden_size))


M = TypeVar("M", bound=MinimalSettings)


class MinimalLayer(Layer[M]):
    """h' = a h + c, where a and c are made from x alone by products with ``gates`` matrices."""

    gates: ClassVar[int]

    def __init__(
        self,
        input_size: int,
        slots: Sequence[M],
        generators: Sequence[torch.Generator],
        depth: int,
    ) -> None:
        super().__init__(input_size, slots, generators, depth)
        self.state_size = slots[0].state_size
        self.positive = slots[0].candidate == "positive"
        rows, bound = self.gates * self.state_size, 1 / math.sqrt(input_size)

        def draw(slot: M, generator: torch.Generator) -> Tensor:
            return uniform(-bound, bound, rows, input_size, generator=generator)

        self.input_weight = stack_slots(slots, generators, draw)
        self.bias = nn.Parameter(torch.stack([self.initial_bias(slot) for slot in slots]))
        self.output_weight = None
        if slots[0].expansion != 1:
            bound = 1 / math.sqrt(self.state_size)
            self.output_weight = stack_slots(
                slots,
                generators,
                lambda slot, drawn: uniform(
                    -bound, bound, slot.hidden_size, slot.state_size, generator=drawn
                ),
            )

    @classmethod
    def parameter_count(cls, input_size: int, settings: M) -> int:
        expanded = settings.hidden_size * settings.state_size * (settings.expansion != 1)
        return cls.gates * settings.state_size * (input_size + 1) + expanded

    @classmethod
    @abstractmethod
    def initial_bias(cls, settings: M) -> Tensor:
        """The gates' biases, then zeros for the candidate."""

    @staticmethod
    @abstractmethod
    def coefficients(products: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """The weights of the state before and of the candidate, from the gates' products."""

    def initial_state(self, inputs: Tensor) -> State:
        return self.zero_state(inputs, self.state_size)

    def forward(self, inputs: Tensor, state: State | None) -> tuple[Tensor, State]:
        # A carried state is a value of h: it enters the recurrence as it is, never through g.
        (initial,) = self.initial_state(inputs) if state is None else state
        products = hoisted_input_product(inputs, self.input_weight, self.bias)
        keep, new = slotwise(self._terms, (products.transpose(0, 1),))
        hidden = linear_scan(keep.transpose(0, 1), new.transpose(0, 1), initial)
        if self.output_weight is None:
            return hidden, (hidden[-1],)
        return hoisted_input_product(hidden, self.output_weight), (hidden[-1],)

    def _terms(self, products: Tensor) -> tuple[Tensor, Tensor]:
        *gates, candidate = products.chunk(self.gates, -1)
        keep, write = self.coefficients(gates)
        if self.positive:
            candidate = torch.where(candidate >= 0, candidate + 0.5, candidate.sigmoid())
        return keep, write * candidate

    def parameter_groups(self) -> list[ParameterGroup]:
        parameters = [self.input_weight, self.bias]
        if self.output_weight is not None:
            parameters.append(self.output_weight)
        return [ParameterGroup("main", tuple(parameters), torch.ones(self.pack_size))]


@dataclass(frozen=True, kw_only=True)
class MinGRUSettings(MinimalSettings):
    """Settings of `MinGRU`."""

    name: ClassVar[str] = "mingru"


class MinGRULayer(MinimalLayer[MinGRUSettings]):
    """One layer of `MinGRU`; rows in the order z, h~."""

    gates = 2

    @classmethod
    def initial_bias(cls, settings: MinGRUSettings) -> Tensor:
        bias = torch.zeros(2, settings.state_size)
        bias[0] = -settings.keep_bias
        return bias.flatten()

    @staticmethod
    def coefficients(products: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        (update,) = products
        # sigmoid(-z) and not 1 - sigmoid(z), which has lost its digits where z is large.
        return (-update).sigmoid(), update.sigmoid()


@dataclass(frozen=True, kw_only=True)
class MinLSTMSettings(MinimalSettings):
    """Settings of `MinLSTM`."""

    name: ClassVar[str] = "minlstm"


class MinLSTMLayer(MinimalLayer[MinLSTMSettings]):
    """One layer of `MinLSTM`; rows in the order f, i, h~."""

    gates = 3

    @classmethod
    def initial_bias(cls, settings: MinLSTMSettings) -> Tensor:
        bias = torch.zeros(3, settings.state_size)
        bias[0] = settings.keep_bias
        return bias.flatten()

    @staticmethod
    def coefficients(products: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        # f / (f + i) = sigmoid(log f - log i), which holds where both gates are too small to add.
        forget, write = products
        odds = functional.logsigmoid(forget) - functional.logsigmoid(write)
        return odds.sigmoid(), (-odds).sigmoid()


_REFERENCE = 'Feng et al., "Were RNNs All We Needed?", arXiv:2410.01201'
_BIBTEX = """@article{feng2024were,
  title = {Were RNNs All We Needed?},
  author = {Feng, Leo and Tung, Frederick and Ahmed, Mohamed Osama and Bengio, Yoshua and \
Hajimirsadegh, Hossein},
  journal = {arXiv preprint arXiv:2410.01201},
  year = {2024},
}"""
_DIFFERS = (
    "The same recurrence is computed by sums and products instead of sums of logarithms, so the "
    "candidate need not be positive. h0 is 0; the paper's parallel form sends its initial state "
    "through g, so 0 becomes 0.5 there and its step-by-step form starts elsewhere. A carried state "
    "is taken as it is. Blocks are those of linear recurrences, norm, layer, GLU and skip, without "
    "the convolution and the feed-forward part that the paper adds for language."
)
_RANGES = {
    "training.optimizer.learning_rate": "{loguniform: [1e-4, 1e-2]}",
    "layers": "{choice: [1, 2, 3, 4]}",
    "expansion": "{choice: [1.0, 1.5, 2.0]}",
    "keep_bias": "{uniform: [0, 5]}",
}
_SHARED = "layers * ({0} * n * (n + 1) + 2 * n + 2 * n * (n + 1)) + n * (m + 1)"


@final
class MinGRU(StackedCell[MinGRUSettings]):
    """The minimal GRU: update gate and candidate see the input only.

    Two layers by default: on selective copying one layer fails (about 37 %), two nearly solve it
    (about 97 %). Weights start uniform on ±1 / sqrt(fan in), biases at 0, that of z at
    -``keep_bias``. With an ``expansion`` other than 1 a layer has more states, which a matrix
    without bias brings back to ``hidden_size``.
    """

    settings_type = MinGRUSettings
    kind = "linear"
    layer_type = MinGRULayer
    equations = (
        "z = sigmoid(W_z x + b_z)\n"
        "h' = (1 - z) * h + z * g(W_h x + b_h)\n"
        "g(v) = v + 0.5 where v >= 0, sigmoid(v) elsewhere; or g(v) = v"
    )
    reference = _REFERENCE
    bibtex = _BIBTEX
    differs = _DIFFERS
    count_formula = _SHARED.format(2)
    search_ranges = _RANGES


@final
class MinLSTM(StackedCell[MinLSTMSettings]):
    """The minimal LSTM: forget and input gate see the input only, and their sum is made 1.

    Weights start uniform on ±1 / sqrt(fan in), biases at 0, that of f at ``keep_bias``. With an
    ``expansion`` other than 1 a layer has more states, which a matrix without bias brings back to
    ``hidden_size``.
    """

    settings_type = MinLSTMSettings
    kind = "linear"
    layer_type = MinLSTMLayer
    equations = (
        "f = sigmoid(W_f x + b_f), i = sigmoid(W_i x + b_i)\n"
        "h' = f / (f + i) * h + i / (f + i) * g(W_h x + b_h)\n"
        "g(v) = v + 0.5 where v >= 0, sigmoid(v) elsewhere; or g(v) = v"
    )
    reference = _REFERENCE
    bibtex = _BIBTEX
    differs = (
        _DIFFERS + " A widely used program sends minLSTM's carried state through the logarithm of "
        "g in the parallel form but not in the step-by-step one, so that its two forms disagree."
    )
    count_formula = _SHARED.format(3)
    search_ranges = _RANGES
