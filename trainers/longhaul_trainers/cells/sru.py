"""SRU: a light recurrence whose gates read their own unit only."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import torch
from torch import Tensor, nn

from longhaul_trainers.cells.base import State
from longhaul_trainers.cells.stack import Layer, StackedCell, StackSettings
from longhaul_trainers.initialisation import uniform
from longhaul_trainers.parameter_groups import ParameterGroup
from longhaul_trainers.scans.gated import GatedKind, gated_scan
from longhaul_trainers.scans.inputs import hoisted_input_product
from longhaul_trainers.scans.slotwise import slotwise
from longhaul_trainers.settings import setting
from longhaul_trainers.slots import slot_vector, stack_slots


@dataclass(frozen=True, kw_only=True)
class SRUSettings(StackSettings):
    """Settings of `SRU`; defaults as in the authors' program."""

    name: ClassVar[str] = "sru"
    mode: Literal["bare", "block"] = setting(
        "bare",
        structural=True,
        help="bare: layer upon layer; block: an encoder, then norm, layer, gate and skip each time",
    )
    recurrent_gates: bool = setting(
        True, structural=True, help="whether the gates read c through v; false: as first published"
    )
    highway_bias: float = setting(0.0, help="initial bias of the gate r")
    rescale: bool = setting(
        True, structural=True, help="whether x enters the highway times sqrt(1 + 2 e^highway_bias)"
    )


@final
class SRULayer(Layer[SRUSettings]):
    """One layer of `SRU`; rows of the input weights in the order candidate, f, r, skip."""

    scale: Tensor

    def __init__(
        self,
        input_size: int,
        slots: Sequence[SRUSettings],
        generators: Sequence[torch.Generator],
        depth: int,
    ) -> None:
        super().__init__(input_size, slots, generators, depth)
        size = self.hidden_size
        self.projects = input_size != size
        self.register_buffer("scale", slot_vector(slots, _scale)[:, None, None])
        self.input_weight = stack_slots(slots, generators, self._draw_input)
        biases = [torch.tensor([0.0, slot.highway_bias]) for slot in slots]
        self.bias = nn.Parameter(torch.stack([one.repeat_interleave(size) for one in biases]))
        self.recurrent_weight = None
        if slots[0].recurrent_gates:
            bound = math.sqrt(3 / 2)
            self.recurrent_weight = stack_slots(
                slots, generators, lambda _, drawn: uniform(-bound, bound, 2, size, generator=drawn)
            )

    def _draw_input(self, slot: SRUSettings, generator: torch.Generator) -> Tensor:
        bound, rows = math.sqrt(3 / self.input_size), 4 if self.projects else 3
        weight = uniform(
            -bound, bound, rows, self.hidden_size, self.input_size, generator=generator
        )
        if slot.recurrent_gates:
            weight[1:3] *= math.sqrt(0.5)  # they share the variance with v c
        weight[3:] *= _scale(slot)
        return weight.flatten(0, 1)

    @classmethod
    def parameter_count(cls, input_size: int, settings: SRUSettings) -> int:
        size = settings.hidden_size
        products = 3 + (input_size != size)
        return size * (products * input_size + 2 + 2 * settings.recurrent_gates)

    def initial_state(self, inputs: Tensor) -> State:
        return self.zero_state(inputs, self.hidden_size)

    def forward(self, inputs: Tensor, state: State | None) -> tuple[Tensor, State]:
        (initial,) = self.initial_state(inputs) if state is None else state
        products = hoisted_input_product(inputs, self.input_weight)
        size = self.hidden_size
        recurrent: Tensor | None = self.recurrent_weight
        if recurrent is None:
            recurrent = inputs.new_zeros(self.pack_size, 2, size)
        forget_bias, highway_bias = self.bias.chunk(2, 1)
        scanned = products[..., : 2 * size]
        units = torch.stack([recurrent[:, 0], forget_bias], 1)
        no_product = inputs.new_empty(self.pack_size, 0, size)
        cells, last = gated_scan(_SRU, no_product, units, scanned, (initial,))
        before = torch.cat([initial.unsqueeze(0), cells[:-1]])
        skipped = products[..., 3 * size :] if self.projects else inputs * self.scale
        highway = (products[..., 2 * size : 3 * size], before, cells, skipped)
        slots = [one.transpose(0, 1) for one in highway]
        (outputs,) = slotwise(_highway, (*slots, recurrent[:, 1], highway_bias))
        return outputs.transpose(0, 1), last

    def parameter_groups(self) -> list[ParameterGroup]:
        """One group."""
        return [ParameterGroup("main", tuple(self.parameters()), torch.ones(self.pack_size))]


def _scale(slot: SRUSettings) -> float:
    return math.sqrt(1 + 2 * math.exp(slot.highway_bias)) if slot.rescale else 1.0


def _step(parameters: Sequence[Tensor], products: Tensor, state: State) -> State:
    (c,) = state
    v, bias = parameters[1].unsqueeze(2).unbind(1)
    candidate, gate = products.chunk(2, -1)
    forget = (gate + v * c + bias).sigmoid()
    return (candidate + (c - candidate) * forget,)


_SRU = GatedKind(code=2, products=0, added=0, step=_step)


def _highway(
    products: Tensor, before: Tensor, cells: Tensor, skipped: Tensor, v: Tensor, bias: Tensor
) -> tuple[Tensor]:
    """The outputs of all steps from tensors (P, T, B, H) and (P, H)."""
    gate = (products + v[:, None, None] * before + bias[:, None, None]).sigmoid()
    return (skipped + (cells - skipped) * gate,)


@final
class SRU(StackedCell[SRUSettings]):
    """The simple recurrent unit: two gates, no product of matrices with the state.

    The weights start uniform on ±sqrt(3 / m), those of the gates times sqrt(1/2); v uniform on
    ±sqrt(3 / 2), b_f at 0, b_r at ``highway_bias``; c0 is 0. Where a layer's inputs have not its
    size, x enters the highway through a matrix W_x, which then carries the scale alpha in its
    start. The gates read the c before the step.

    The carried state is c of every layer; h is a function of c and x.
    """

    settings_type = SRUSettings
    kind = "diagonal"
    layer_type = SRULayer
    equations = (
        "f = sigmoid(W_f x + v_f * c + b_f)\n"
        "r = sigmoid(W_r x + v_r * c + b_r)\n"
        "c' = f * c + (1 - f) * (W x)\n"
        "h = r * c' + (1 - r) * alpha x, alpha = sqrt(1 + 2 exp(highway_bias))"
    )
    reference = (
        'Lei, Zhang, Wang, Dai, Artzi, "Simple Recurrent Units for Highly Parallelizable '
        'Recurrence", EMNLP 2018, arXiv:1709.02755'
    )
    bibtex = """@inproceedings{lei2018simple,
  title = {Simple Recurrent Units for Highly Parallelizable Recurrence},
  author = {Lei, Tao and Zhang, Yu and Wang, Sida I. and Dai, Hui and Artzi, Yoav},
  booktitle = {Empirical Methods in Natural Language Processing},
  year = {2018},
}"""
    differs = (
        "There is no dropout. The first version of the paper had no v (recurrent_gates: false) and "
        "a tanh on c'; the authors' program advises against both. A widely read program of linear "
        "recurrences takes 1 - f for f and starts v from a normal distribution, which is another "
        "start of the same cell."
    )
    count_formula = "n * ((3 + (m != n)) * m + 4) + (layers - 1) * n * (3 * n + 4)"
    search_ranges: ClassVar = {
        "training.optimizer.learning_rate": "{loguniform: [1e-4, 1e-2]}",
        "layers": "{choice: [1, 2, 4]}",
        "highway_bias": "{uniform: [-3, 0]}",
    }
