"""Gates that can be learnt near 0 and 1: uniform fixed biases and a refine gate.

Dimensions: P slots, B sequences in a batch, n hidden units.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from longhaul_trainers.cells.base import Cell, CellSettings
from longhaul_trainers.initialisation import glorot_uniform, uniform_gate_bias
from longhaul_trainers.matrices.free import RecurrentInit, draw_recurrent
from longhaul_trainers.parameter_groups import ParameterGroup
from longhaul_trainers.scans.inputs import hoisted_input_product
from longhaul_trainers.settings import setting
from longhaul_trainers.slots import stack_slots

REFERENCE = (
    'Gu, Gulcehre, Paine, Hoffman, Pascanu, "Improving the Gating Mechanism of Recurrent Neural '
    'Networks", ICML 2020, arXiv:1910.09890'
)
BIBTEX = """@inproceedings{gu2020gating,
  title = {Improving the Gating Mechanism of Recurrent Neural Networks},
  author = {Gu, Albert and Gulcehre, Caglar and Paine, Thomas and Hoffman, Matt and Pascanu, \
Razvan},
  booktitle = {International Conference on Machine Learning},
  year = {2020},
}"""
DIFFERS = (
    "The constants are fixed, and a trained bias that starts at 0 is added to them: the same "
    "functions as with trained starts, but weight decay pulls towards the constants, not to 0. The "
    "paper shifts the refine gate by minus the gate's constant; a later program of its first "
    "author (state-spaces/s4) does not, which is refine_bias: zero."
)


@dataclass(frozen=True, kw_only=True)
class RefineGateSettings(CellSettings):
    """What cells with such a gate have."""

    mechanism: Literal["ur", "u", "r"] = setting(
        "ur",
        structural=True,
        help="u: uniform constants in the gate; r: refine gate; ur: both",
    )
    gate_bias: float = setting(1.0, help="constant in the gate where it is not uniform, under r")
    refine_bias: Literal["opposite", "zero"] = setting(
        "opposite", help="constant in the refine gate under ur: minus the gate's, or 0"
    )
    recurrent_init: RecurrentInit = setting("orthogonal", help="initial U of each gate")

    @property
    def refined(self) -> bool:
        """Whether there is a refine gate."""
        return "r" in self.mechanism


class RefineGateCell(Cell):
    """A cell of three gates and, where the settings say so, the refine gate of the first.

    A slot's generator is drawn from in this order: U, V, constants.
    """

    constants: Tensor

    def __init__(
        self,
        input_size: int,
        slots: Sequence[RefineGateSettings],
        generators: Sequence[torch.Generator],
    ) -> None:
        super().__init__(input_size, slots, generators)
        self.refined = slots[0].refined
        gates = 3 + self.refined
        self.recurrent_weight = stack_slots(
            slots, generators, lambda slot, drawn: _draw_recurrent_gates(slot, gates, drawn)
        )
        self.input_weight = stack_slots(
            slots, generators, lambda slot, drawn: _draw_input_gates(slot, gates, input_size, drawn)
        )
        self.bias = nn.Parameter(torch.zeros(len(slots), gates * self.hidden_size))
        constants = stack_slots(slots, generators, _draw_constants).detach()
        self.register_buffer("constants", constants)

    @classmethod
    def parameter_count(cls, input_size: int, settings: CellSettings) -> int:
        if not isinstance(settings, RefineGateSettings):
            raise TypeError(f"expected settings of a cell with a refine gate, found {settings!r}")
        size = settings.hidden_size
        return (3 + settings.refined) * size * (input_size + size + 1)

    def gate_products(self, inputs: Tensor) -> Tensor:
        """V x + b of every gate, constants included, (T, P, B, gates n) for inputs (T, P, B, I)."""
        rest = self.bias.shape[1] - self.constants.shape[1]
        bias = self.bias + nn.functional.pad(self.constants, (0, rest))
        return hoisted_input_product(inputs, self.input_weight, bias)

    def parameter_groups(self) -> list[ParameterGroup]:
        """One group."""
        return [ParameterGroup("main", tuple(self.parameters()), torch.ones(self.pack_size))]


def _draw_constants(slot: RefineGateSettings, generator: torch.Generator) -> Tensor:
    """One slot's fixed biases of the gate and of its refine gate, if there is one.

    Returns:
        Shape (n,), or (2n,): the gate's first.
    """
    if slot.mechanism == "r":
        gate = torch.full((slot.hidden_size,), slot.gate_bias)
        return torch.cat([gate, torch.zeros_like(gate)])
    gate = uniform_gate_bias(slot.hidden_size, generator)
    if not slot.refined:
        return gate
    return torch.cat([gate, -gate if slot.refine_bias == "opposite" else torch.zeros_like(gate)])


def _draw_recurrent_gates(
    slot: RefineGateSettings, gates: int, generator: torch.Generator
) -> Tensor:
    """One slot's initial U of so many gates, shape (gates n, n)."""
    size = slot.hidden_size
    drawn = [draw_recurrent(slot.recurrent_init, 1.0, size, generator) for _ in range(gates)]
    return torch.cat(drawn)


def _draw_input_gates(
    slot: RefineGateSettings, gates: int, input_size: int, generator: torch.Generator
) -> Tensor:
    """One slot's initial V of so many gates, Glorot uniform each, shape (gates n, I)."""
    drawn = [glorot_uniform(slot.hidden_size, input_size, generator) for _ in range(gates)]
    return torch.cat(drawn)


def effective_gate(preactivations: Sequence[Tensor]) -> Tensor:
    """The gate g, or (1 - 2r) g^2 + 2 r g with its refine gate r.

    Between g^2 and 1 - (1 - g)^2, as r goes from 0 to 1: so it comes near 0 and 1 where g itself
    still has a gradient.

    Args:
        preactivations: of g, and of r if there is one, constants included.
    """
    g = torch.sigmoid(preactivations[0])
    if len(preactivations) == 1:
        return g
    r = torch.sigmoid(preactivations[1])
    return g * (g + 2 * r * (1 - g))
