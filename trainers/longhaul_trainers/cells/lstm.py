"""LSTM, the gated baseline."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from longhaul_trainers.cells.base import Cell, CellSettings, State
from longhaul_trainers.errors import SettingError
from longhaul_trainers.initialisation import glorot_uniform, uniform, uniform_gate_bias
from longhaul_trainers.matrices.free import RecurrentInit, draw_recurrent
from longhaul_trainers.parameter_groups import ParameterGroup
from longhaul_trainers.precision import PRECISIONS, Precision
from longhaul_trainers.scans.inputs import hoisted_input_product
from longhaul_trainers.scans.lstm import lstm_scan
from longhaul_trainers.settings import setting
from longhaul_trainers.slots import stack_slots


@dataclass(frozen=True, kw_only=True)
class LSTMSettings(CellSettings):
    """Settings of `LSTM`."""

    name: ClassVar[str] = "lstm"
    recurrent_init: RecurrentInit = setting("orthogonal", help="initial U of each gate")
    forget_init: Literal["constant", "chrono", "uniform"] = setting(
        "constant",
        help="initial bias of the forget gate: forget_bias, drawn for chrono_max, or so that the "
        "gate is uniform on (1/n, 1 - 1/n)",
    )
    forget_bias: float = setting(1.0, help="initial bias of the forget gate if constant")
    chrono_max: int | None = setting(
        None, ge=3, help="longest dependency expected, in steps; needed by chrono"
    )

    def check(self) -> None:
        if self.forget_init == "chrono" and self.chrono_max is None:
            raise SettingError("chrono_max", "missing; forget_init: chrono needs it")


@final
class LSTM(Cell):
    """Long short-term memory with forget gates and no peepholes; h0 = c0 = 0.

    Gates in the order i, f, g, o in all parameters, as in `torch.nn.LSTM`, to which it is equal
    with ``bias_ih`` = b and ``bias_hh`` = 0. V starts Glorot uniform gate by gate, U as
    ``recurrent_init`` says, b at 0 except for the forget gate.

    With ``forget_init: chrono`` (Tallec and Ollivier, ICLR 2018, arXiv:1804.11188) that gate's
    biases are log u, u uniform on (1, chrono_max - 1), and the input gate's their negatives; where
    long dependencies are compared, this is the start that an LSTM should have. With ``uniform`` (Gu
    et al., ICML 2020, arXiv:1910.09890) they are log(u / (1 - u)), u uniform on (1/n, 1 - 1/n).

    The carried state is ``(h, c)``.
    """

    settings_type = LSTMSettings
    kind = "gated"
    equations = (
        "i = sigmoid(U_i h + V_i x + b_i)\n"
        "f = sigmoid(U_f h + V_f x + b_f)\n"
        "g = tanh(U_g h + V_g x + b_g)\n"
        "o = sigmoid(U_o h + V_o x + b_o)\n"
        "c' = f * c + i * g\n"
        "h' = o * tanh(c')"
    )
    reference = (
        'Hochreiter and Schmidhuber, "Long Short-Term Memory", Neural Computation 9(8), 1997; '
        'Gers, Schmidhuber, Cummins, "Learning to Forget", Neural Computation 12(10), 2000'
    )
    bibtex = """@article{hochreiter1997lstm,
  title = {Long Short-Term Memory},
  author = {Hochreiter, Sepp and Schmidhuber, J{\\"u}rgen},
  journal = {Neural Computation},
  volume = {9},
  number = {8},
  year = {1997},
}"""
    differs = (
        "With the forget gates of 2000 and one bias vector a gate, as in published counts; "
        "torch.nn.LSTM has two, 4 n parameters more that change no output. No gradients are cut "
        "inside the cell, as the paper of 1997 did. The comparisons of Arjovsky et al. 2016 and "
        "Wisdom et al. 2016 clip the LSTM's gradients elementwise to +-1 and let its output gate "
        "read the new cell state; here training clips, if told to, and no gate reads c."
    )
    count_formula = "4 * n * (n + m + 1)"
    search_ranges: ClassVar = {
        "training.optimizer.learning_rate": "{loguniform: [1e-4, 1e-2]}",
        "training.clip_norm": "{choice: [null, 1, 10]}",
        "recurrent_init": "{choice: [orthogonal, glorot]}",
        "forget_init": "{choice: [constant, chrono]}",
        "forget_bias": "{uniform: [0, 3]}",
    }

    def __init__(
        self,
        input_size: int,
        slots: Sequence[LSTMSettings],
        generators: Sequence[torch.Generator],
    ) -> None:
        super().__init__(input_size, slots, generators)
        size = self.hidden_size

        def draw_recurrent_weight(slot: LSTMSettings, generator: torch.Generator) -> Tensor:
            gates = [draw_recurrent(slot.recurrent_init, 1.0, size, generator) for _ in range(4)]
            return torch.cat(gates)

        def draw_input_weight(slot: LSTMSettings, generator: torch.Generator) -> Tensor:
            return torch.cat([glorot_uniform(size, input_size, generator) for _ in range(4)])

        self.recurrent_weight = stack_slots(slots, generators, draw_recurrent_weight)
        self.input_weight = stack_slots(slots, generators, draw_input_weight)
        self.bias = stack_slots(slots, generators, _draw_bias)

    @classmethod
    def parameter_count(cls, input_size: int, settings: CellSettings) -> int:
        size = settings.hidden_size
        return 4 * size * (input_size + size + 1)

    @classmethod
    def precisions(cls, settings: CellSettings) -> tuple[Precision, ...]:
        return PRECISIONS

    def initial_state(self, inputs: Tensor) -> State:
        return self.zero_state(inputs, self.hidden_size, self.hidden_size)

    def forward(self, inputs: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        state = self.initial_state(inputs) if state is None else state
        products = hoisted_input_product(inputs, self.input_weight, self.bias)
        h, c = state
        hidden, cell = lstm_scan(self.recurrent_weight, products, h, c, self.precision)
        return hidden, (hidden[-1], cell)

    def parameter_groups(self) -> list[ParameterGroup]:
        parameters = (self.recurrent_weight, self.input_weight, self.bias)
        return [ParameterGroup("main", parameters, torch.ones(self.pack_size))]


def _draw_bias(slot: LSTMSettings, generator: torch.Generator) -> Tensor:
    i, f, g, o = torch.zeros(4, slot.hidden_size)
    if slot.forget_init == "chrono" and slot.chrono_max is not None:
        f = uniform(1, slot.chrono_max - 1, slot.hidden_size, generator=generator).log()
        i = -f
    elif slot.forget_init == "uniform":
        f = uniform_gate_bias(slot.hidden_size, generator)
    else:
        f = f + slot.forget_bias
    return torch.cat([i, f, g, o])
