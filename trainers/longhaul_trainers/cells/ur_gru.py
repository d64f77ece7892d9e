"""UR-GRU: a GRU that remembers for all lengths from the start."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from longhaul_trainers.cells.base import CellSettings, State
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
class URGRUSettings(RefineGateSettings):
    """Settings of `URGRU`."""

    name: ClassVar[str] = "ur_gru"


@final
class URGRU(RefineGateCell):
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

    def __init__(
        self,
        input_size: int,
        slots: Sequence[URGRUSettings],
        generators: Sequence[torch.Generator],
    ) -> None:
        super().__init__(input_size, slots, generators)
        self.candidate_bias = nn.Parameter(torch.zeros(len(slots), self.hidden_size))

    @classmethod
    def parameter_count(cls, input_size: int, settings: CellSettings) -> int:
        return super().parameter_count(input_size, settings) + settings.hidden_size

    def initial_state(self, inputs: Tensor) -> State:
        return self.zero_state(inputs, self.hidden_size)

    def forward(self, inputs: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        state = self.initial_state(inputs) if state is None else state
        units = self.candidate_bias.unsqueeze(1)
        kind = _KINDS[self.refined]
        return gated_scan(kind, self.recurrent_weight, units, self.gate_products(inputs), state)


def _step(parameters: Sequence[Tensor], products: Tensor, state: State) -> State:
    transposed, candidate_bias = parameters
    (h,) = state
    size = h.shape[-1]
    turned = torch.bmm(h, transposed)
    *update, reset = (products + turned)[..., :-size].split(size, -1)
    g, s = effective_gate(update), torch.sigmoid(reset)
    candidate = torch.tanh(products[..., -size:] + s * (turned[..., -size:] + candidate_bias))
    return (candidate + g * (h - candidate),)


_KINDS = {
    False: GatedKind(code=3, products=3, added=2, step=_step),
    True: GatedKind(code=4, products=4, added=3, step=_step),
}
