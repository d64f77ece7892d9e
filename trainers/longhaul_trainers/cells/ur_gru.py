"""UR-GRU: a GRU that remembers for all lengths from the start."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from longhaul_trainers.cells.base import Cell, CellSettings, State
from longhaul_trainers.cells.refine_gate import (
    BIBTEX,
    DIFFERS,
    REFERENCE,
    RefineGateSettings,
    draw_constants,
    draw_input_gates,
    draw_recurrent_gates,
    effective_gate,
)
from longhaul_trainers.parameter_groups import ParameterGroup
from longhaul_trainers.scans.inputs import hoisted_input_product
from longhaul_trainers.scans.stepwise import stepwise_scan
from longhaul_trainers.slots import stack_slots


@dataclass(frozen=True, kw_only=True)
class URGRUSettings(RefineGateSettings):
    """Settings of `URGRU`."""

    name: ClassVar[str] = "ur_gru"


@final
class URGRU(Cell):
    """The GRU with a uniform update gate and a refine gate; h0 = 0.

    Without input, unit j keeps the fraction u_j of its state at each step, u uniform on
    (1/n, 1 - 1/n); see the UR-LSTM for why.

    Gates in the order z, r, s, n in all parameters, without the refine gate r under
    ``mechanism: u``. V starts Glorot uniform gate by gate, U as ``recurrent_init`` says, b at 0.
    """

    settings_type = URGRUSettings
    kind = "gated"
    equations = (
        "z = sigmoid(U_z h + V_z x + b_z + a), a = log(u / (1 - u)) fixed\n"
        "r = sigmoid(U_r h + V_r x + b_r - a)\n"
        "g = (1 - 2 r) * z^2 + 2 r * z\n"
        "s = sigmoid(U_s h + V_s x + b_s)\n"
        "h' = g * h + (1 - g) * tanh(V_n x + b_n + s * (U_n h + b_hn))"
    )
    reference = REFERENCE
    bibtex = BIBTEX
    differs = (
        f"{DIFFERS} The paper spells out the LSTM; here the same gate takes the place of the GRU's "
        "update gate z, the weight of the old state. The reset gate s acts after the product, as "
        "in the cell gru."
    )
    count_formula = "4 * n * (n + m + 1) + n"
    search_ranges: ClassVar = {
        "training.optimizer.learning_rate": "{loguniform: [1e-4, 1e-2]}",
        "training.clip_norm": "{choice: [null, 1, 10]}",
        "mechanism": "{choice: [ur, u, r]}",
    }
    constants: Tensor

    def __init__(
        self,
        input_size: int,
        slots: Sequence[URGRUSettings],
        generators: Sequence[torch.Generator],
    ) -> None:
        super().__init__(input_size, slots, generators)
        gates = 3 + slots[0].refined
        self.recurrent_weight = stack_slots(
            slots, generators, lambda slot, drawn: draw_recurrent_gates(slot, gates, drawn)
        )
        self.input_weight = stack_slots(
            slots, generators, lambda slot, drawn: draw_input_gates(slot, gates, input_size, drawn)
        )
        self.bias = nn.Parameter(torch.zeros(len(slots), gates * self.hidden_size))
        self.candidate_bias = nn.Parameter(torch.zeros(len(slots), self.hidden_size))
        constants = stack_slots(slots, generators, draw_constants).detach()
        self.register_buffer("constants", constants)

    @classmethod
    def parameter_count(cls, input_size: int, settings: CellSettings) -> int:
        if not isinstance(settings, URGRUSettings):
            raise TypeError(f"expected settings of a UR-GRU, found {settings!r}")
        size = settings.hidden_size
        return (3 + settings.refined) * size * (input_size + size + 1) + size

    def forward(self, inputs: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        state = self.zero_state(inputs, self.hidden_size) if state is None else state
        rest = self.bias.shape[1] - self.constants.shape[1]
        bias = self.bias + nn.functional.pad(self.constants, (0, rest))
        products = hoisted_input_product(inputs, self.input_weight, bias)
        given = (self.recurrent_weight.mT.contiguous(), self.candidate_bias.unsqueeze(1))
        return stepwise_scan(_step, given, products, state)

    def parameter_groups(self) -> list[ParameterGroup]:
        parameters = (self.recurrent_weight, self.input_weight, self.bias, self.candidate_bias)
        return [ParameterGroup("main", parameters, torch.ones(self.pack_size))]


def _step(parameters: Sequence[Tensor], products: Tensor, state: State) -> State:
    recurrent, candidate_bias = parameters
    (h,) = state
    size = h.shape[-1]
    turned = torch.bmm(h, recurrent)
    *update, reset = (products + turned)[..., :-size].split(size, -1)
    g, s = effective_gate(update), torch.sigmoid(reset)
    candidate = torch.tanh(products[..., -size:] + s * (turned[..., -size:] + candidate_bias))
    return (candidate + g * (h - candidate),)
