"""UR-LSTM: an LSTM that remembers for all lengths from the start."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from longhaul_trainers.cells.base import State
from longhaul_trainers.cells.refine_gate import (
    BIBTEX,
    DIFFERS,
    REFERENCE,
    RefineGateCell,
    RefineGateSettings,
    effective_gate,
)
from longhaul_trainers.scans.gated import GatedKind, gated_scan


@dataclass(frozen=True, kw_only=True)
class URLSTMSettings(RefineGateSettings):
    """Settings of `URLSTM`."""

    name: ClassVar[str] = "ur_lstm"


@final
class URLSTM(RefineGateCell):
    """The LSTM with a uniform forget gate and a refine gate; h0 = c0 = 0.

    Without input, unit j keeps the fraction u_j of its cell at each step, u uniform on
    (1/n, 1 - 1/n), so that the time scales are there before training; and the refine gate lets the
    forget gate come near 1 without leaving the region where it has a gradient. The input gate is
    1 - g, so there are as many parameters as in an LSTM.

    Gates in the order f, r, u, o in all parameters, without r under ``mechanism: u``. V starts
    Glorot uniform gate by gate, U as ``recurrent_init`` says, b at 0. The carried state is
    ``(h, c)``.
    """

    settings_type = URLSTMSettings
    kind = "gated"
    equations = (
        "f = sigmoid(U_f h + V_f x + b_f + a), a = log(u / (1 - u)) fixed\n"
        "r = sigmoid(U_r h + V_r x + b_r - a)\n"
        "g = (1 - 2 r) * f^2 + 2 r * f\n"
        "c' = g * c + (1 - g) * tanh(U_u h + V_u x + b_u)\n"
        "h' = sigmoid(U_o h + V_o x + b_o) * tanh(c')"
    )
    reference = REFERENCE
    bibtex = BIBTEX
    differs = DIFFERS
    count_formula = "4 * n * (n + m + 1)"
    search_ranges: ClassVar = {
        "training.optimizer.learning_rate": "{loguniform: [1e-4, 1e-2]}",
        "training.clip_norm": "{choice: [null, 1, 10]}",
        "mechanism": "{choice: [ur, u, r]}",
    }

    def initial_state(self, inputs: Tensor) -> State:
        return self.zero_state(inputs, self.hidden_size, self.hidden_size)

    def forward(self, inputs: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        state = self.initial_state(inputs) if state is None else state
        units = inputs.new_empty(self.pack_size, 0, self.hidden_size)
        kind = _KINDS[self.refined]
        return gated_scan(kind, self.recurrent_weight, units, self.gate_products(inputs), state)


def _step(parameters: Sequence[Tensor], products: Tensor, state: State) -> State:
    h, c = state
    *forget, update, output = torch.baddbmm(products, h, parameters[0]).split(h.shape[-1], -1)
    g = effective_gate(forget)
    update = torch.tanh(update)
    c = update + g * (c - update)
    return torch.sigmoid(output) * torch.tanh(c), c


_KINDS = {
    False: GatedKind(code=5, products=3, added=3, step=_step),
    True: GatedKind(code=6, products=4, added=4, step=_step),
}
