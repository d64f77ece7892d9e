"""GRU, the other gated baseline."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from longhaul_trainers.cells.base import Cell, CellSettings, State
from longhaul_trainers.initialisation import glorot_uniform
from longhaul_trainers.matrices.free import RecurrentInit, draw_recurrent
from longhaul_trainers.parameter_groups import ParameterGroup
from longhaul_trainers.precision import PRECISIONS, Precision
from longhaul_trainers.scans.gru import gru_scan
from longhaul_trainers.scans.inputs import hoisted_input_product
from longhaul_trainers.settings import setting
from longhaul_trainers.slots import stack_slots


@dataclass(frozen=True, kw_only=True)
class GRUSettings(CellSettings):
    """Settings of `GRU`."""

    name: ClassVar[str] = "gru"
    recurrent_init: RecurrentInit = setting("orthogonal", help="initial U of each gate")


@final
class GRU(Cell):
    """The gated recurrent unit; h0 = 0.

    Gates in the order r, z, n in all parameters, as in `torch.nn.GRU`, to which it is equal with
    ``bias_ih`` = b and ``bias_hh`` = (0, 0, b_hn). V starts Glorot uniform gate by gate, U as
    ``recurrent_init`` says, all biases at 0.
    """

    settings_type = GRUSettings
    kind = "gated"
    equations = (
        "r = sigmoid(U_r h + V_r x + b_r)\n"
        "z = sigmoid(U_z h + V_z x + b_z)\n"
        "n = tanh(V_n x + b_n + r * (U_n h + b_hn))\n"
        "h' = (1 - z) * n + z * h"
    )
    reference = (
        'Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder for Statistical '
        'Machine Translation", EMNLP 2014, arXiv:1406.1078'
    )
    bibtex = """@inproceedings{cho2014gru,
  title = {Learning Phrase Representations using {RNN} Encoder-Decoder for Statistical Machine \
Translation},
  author = {Cho, Kyunghyun and van Merri{\\"e}nboer, Bart and Gulcehre, Caglar and Bahdanau, \
Dzmitry and Bougares, Fethi and Schwenk, Holger and Bengio, Yoshua},
  booktitle = {Empirical Methods in Natural Language Processing},
  year = {2014},
}"""
    differs = (
        "The reset gate acts after the product with U_n, so that this product can be computed "
        "together with those of the other gates; so b_hn is a parameter of its own, n more than "
        "published counts. z is the weight of the old state, as in the paper and in torch.nn.GRU; "
        "Chung et al. 2014 have it the other way round."
    )
    count_formula = "3 * n * (n + m + 1) + n"
    search_ranges: ClassVar = {
        "training.optimizer.learning_rate": "{loguniform: [1e-4, 1e-2]}",
        "training.clip_norm": "{choice: [null, 1, 10]}",
        "recurrent_init": "{choice: [orthogonal, glorot]}",
    }

    def __init__(
        self,
        input_size: int,
        slots: Sequence[GRUSettings],
        generators: Sequence[torch.Generator],
    ) -> None:
        super().__init__(input_size, slots, generators)
        size = self.hidden_size

        def draw_recurrent_weight(slot: GRUSettings, generator: torch.Generator) -> Tensor:
            gates = [draw_recurrent(slot.recurrent_init, 1.0, size, generator) for _ in range(3)]
            return torch.cat(gates)

        def draw_input_weight(slot: GRUSettings, generator: torch.Generator) -> Tensor:
            return torch.cat([glorot_uniform(size, input_size, generator) for _ in range(3)])

        self.recurrent_weight = stack_slots(slots, generators, draw_recurrent_weight)
        self.input_weight = stack_slots(slots, generators, draw_input_weight)
        self.bias = nn.Parameter(torch.zeros(len(slots), 3 * size))
        self.candidate_bias = nn.Parameter(torch.zeros(len(slots), size))

    @classmethod
    def parameter_count(cls, input_size: int, settings: CellSettings) -> int:
        size = settings.hidden_size
        return 3 * size * (input_size + size + 1) + size

    @classmethod
    def precisions(cls, settings: CellSettings) -> tuple[Precision, ...]:
        return PRECISIONS

    def initial_state(self, inputs: Tensor) -> State:
        return self.zero_state(inputs, self.hidden_size)

    def forward(self, inputs: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        (initial,) = self.initial_state(inputs) if state is None else state
        products = hoisted_input_product(inputs, self.input_weight, self.bias)
        hidden = gru_scan(
            self.recurrent_weight, self.candidate_bias, products, initial, self.precision
        )
        return hidden, (hidden[-1],)

    def parameter_groups(self) -> list[ParameterGroup]:
        parameters = (self.recurrent_weight, self.input_weight, self.bias, self.candidate_bias)
        return [ParameterGroup("main", parameters, torch.ones(self.pack_size))]
