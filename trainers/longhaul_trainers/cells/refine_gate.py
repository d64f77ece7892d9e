"""Gates that can be learnt near 0 and 1: uniform fixed biases and a refine gate.

Dimensions: P slots, B sequences in a batch, n hidden units.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from longhaul_trainers.cells.base import CellSettings
from longhaul_trainers.initialisation import glorot_uniform, uniform_gate_bias
from longhaul_trainers.matrices.free import RecurrentInit, draw_recurrent
from longhaul_trainers.settings import setting

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


def draw_constants(slot: RefineGateSettings, generator: torch.Generator) -> Tensor:
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


def draw_recurrent_gates(
    slot: RefineGateSettings, gates: int, generator: torch.Generator
) -> Tensor:
    """One slot's initial U of so many gates, shape (gates n, n)."""
    size = slot.hidden_size
    drawn = [draw_recurrent(slot.recurrent_init, 1.0, size, generator) for _ in range(gates)]
    return torch.cat(drawn)


def draw_input_gates(
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
