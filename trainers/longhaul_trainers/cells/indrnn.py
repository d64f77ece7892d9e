"""IndRNN: units that see only themselves, many layers of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import torch
from torch import Tensor, nn

from longhaul_trainers.catalogue import NONLINEARITIES
from longhaul_trainers.cells.base import State
from longhaul_trainers.cells.stack import Layer, StackedCell, StackSettings
from longhaul_trainers.errors import SettingError
from longhaul_trainers.initialisation import uniform
from longhaul_trainers.nonlinearities import Nonlinearity, ReLUSettings
from longhaul_trainers.parameter_groups import ParameterGroup
from longhaul_trainers.scans.diagonal import diagonal_scan
from longhaul_trainers.scans.inputs import hoisted_input_product
from longhaul_trainers.settings import Settings, component, setting
from longhaul_trainers.slots import slot_vector, stack_slots

WeightInit = Literal["uniform", "bound", "one"]


@dataclass(frozen=True, kw_only=True)
class IndRNNSettings(StackSettings):
    """Settings of `IndRNN`; defaults as in the authors' program for pixel MNIST."""

    name: ClassVar[str] = "indrnn"
    layers: int = setting(6, ge=1, structural=True, help="number of recurrent layers")
    mode: Literal["bare", "block"] = setting(
        "bare",
        structural=True,
        help="bare: layer upon layer; block: an encoder, then norm, layer, gate and skip each time",
    )
    norm: Literal["layer", "batch", "none"] | None = setting(
        "batch", structural=True, help="normalisation of each layer, after it unless in blocks"
    )
    nonlinearity: Settings = component(NONLINEARITIES, ReLUSettings(), help="phi")
    magnitude: float | None = setting(
        2.0, gt=0, help="by how much u may multiply a state in a whole sequence; null: no bound"
    )
    sequence_length: int | None = setting(
        None, ge=1, help="T of that bound, |u| <= magnitude^(1/T); null: endless, |u| <= 1"
    )
    recurrent_init: WeightInit = setting(
        "uniform",
        help="initial u: uniform on (0, 1), uniform between 1/bound and bound, or 1",
    )
    last_recurrent_init: WeightInit | None = setting(
        None, help="initial u of the last layer; null: as the others"
    )

    def check(self) -> None:
        super().check()
        for key in ("recurrent_init", "last_recurrent_init"):
            if getattr(self, key) == "bound" and self.magnitude is None:
                raise SettingError(key, "bound needs a magnitude, found null")

    @property
    def bound(self) -> float:
        """The largest |u| allowed."""
        if self.magnitude is None:
            return math.inf
        return 1.0 if self.sequence_length is None else self.magnitude ** (1 / self.sequence_length)


@final
class IndRNNLayer(Layer[IndRNNSettings]):
    """One layer of `IndRNN`."""

    bound: Tensor

    def __init__(
        self,
        input_size: int,
        slots: Sequence[IndRNNSettings],
        generators: Sequence[torch.Generator],
        depth: int,
    ) -> None:
        super().__init__(input_size, slots, generators, depth)
        size = self.hidden_size
        self.recurrent_weight = stack_slots(slots, generators, self._draw_recurrent)
        bound = math.sqrt(6 / (65 * input_size))  # Kaiming uniform for a slope of 8
        self.input_weight = stack_slots(
            slots,
            generators,
            lambda _, drawn: uniform(-bound, bound, size, input_size, generator=drawn),
        )
        self.bias = nn.Parameter(torch.zeros(len(slots), size))
        nonlinearity: type[Nonlinearity] = NONLINEARITIES.get(slots[0].nonlinearity.name)
        self.nonlinearity = nonlinearity(size, [slot.nonlinearity for slot in slots], generators)
        self.register_buffer("bound", slot_vector(slots, lambda slot: slot.bound)[:, None])
        self.after_step()

    def _draw_recurrent(self, slot: IndRNNSettings, generator: torch.Generator) -> Tensor:
        init = slot.recurrent_init
        if self.depth == slot.layers - 1:
            init = slot.last_recurrent_init or init
        if init == "one":
            return torch.ones(self.hidden_size)
        low, high = (1 / slot.bound, slot.bound) if init == "bound" else (0.0, 1.0)
        return uniform(low, high, self.hidden_size, generator=generator)

    @classmethod
    def parameter_count(cls, input_size: int, settings: IndRNNSettings) -> int:
        size = settings.hidden_size
        nonlinearity: type[Nonlinearity] = NONLINEARITIES.get(settings.nonlinearity.name)
        return size * (input_size + 2) + nonlinearity.parameter_count(size)

    def initial_state(self, inputs: Tensor) -> State:
        return self.zero_state(inputs, self.hidden_size)

    def forward(self, inputs: Tensor, state: State | None) -> tuple[Tensor, State]:
        (initial,) = self.initial_state(inputs) if state is None else state
        products = hoisted_input_product(inputs, self.input_weight, self.bias)
        hidden = diagonal_scan(self.recurrent_weight, products, initial, self.nonlinearity)
        return hidden, (hidden[-1],)

    def parameter_groups(self) -> list[ParameterGroup]:
        """Weight decay acts on the input weights alone, as in the authors' program."""
        ratio = torch.ones(self.pack_size)
        main = (self.input_weight, *self.nonlinearity.parameters())
        return [
            ParameterGroup("recurrent", (self.recurrent_weight,), ratio, decay=False),
            ParameterGroup("bias", (self.bias,), ratio, decay=False),
            ParameterGroup("main", main, ratio),
        ]

    @torch.no_grad()
    def after_step(self) -> None:
        """Clamps u; NaN stays NaN."""
        within = torch.minimum(self.recurrent_weight, self.bound)
        self.recurrent_weight.copy_(torch.maximum(within, -self.bound))

    @torch.no_grad()
    def diagnostics(self) -> dict[str, Tensor]:
        """Of the recurrent matrix diag(u)."""
        moduli = self.recurrent_weight.double().abs()
        return {
            "spectral_radius": moduli.amax(1),
            "singular_value_min": moduli.amin(1),
        }


@final
class IndRNN(StackedCell[IndRNNSettings]):
    """Layers of units that each see the input and their own last value only.

    A unit's weight u says how long it remembers: |u|^T is what is left after T steps, and what its
    gradient is multiplied by. After every step |u| is clamped to magnitude^(1/T); the authors take
    magnitudes of 2, 5 and 10 with T the length of the sequences, and 1 for very long ones.

    V starts Kaiming uniform for a slope of 8, b at 0, u uniform on (0, 1); h0 is 0. Where only the
    last step is read the authors start the last layer's u near 1: ``last_recurrent_init: bound``.
    They trained six layers of 512 units with batch normalisation after each, Adam at 0.0002,
    gradients clipped to ±10 and a weight decay of 0.0001, which acts neither on u nor on b.
    """

    settings_type = IndRNNSettings
    kind = "diagonal"
    layer_type = IndRNNLayer
    equations = "h' = phi(u * h + V x + b), |u| <= magnitude^(1/T)"
    reference = (
        'Li, Li, Cook, Zhu, Gao, "Independently Recurrent Neural Network (IndRNN): Building A '
        'Longer and Deeper RNN", CVPR 2018, arXiv:1803.04831'
    )
    bibtex = """@inproceedings{li2018independently,
  title = {Independently Recurrent Neural Network ({IndRNN}): Building A Longer and Deeper {RNN}},
  author = {Li, Shuai and Li, Wanqing and Cook, Chris and Zhu, Ce and Gao, Yanbo},
  booktitle = {IEEE Conference on Computer Vision and Pattern Recognition},
  year = {2018},
}"""
    differs = (
        "u is clamped after each step of the optimiser; the authors' program clamps before the "
        "next forward pass, so that what it evaluates and saves last is not clamped. Gradients are "
        "clipped by their norm, not number by number. There is no dropout. Batch normalisation "
        "before the nonlinearity, as for language, and dense connections are left out; the "
        "residual network comes near mode: block, gate: none, norm: batch."
    )
    count_formula = "n * (m + 2) + (layers - 1) * n * (n + 2) + layers * 2 * n"
    search_ranges: ClassVar = {
        "training.optimizer.learning_rate": "{loguniform: [1e-4, 1e-2]}",
        "layers": "{choice: [1, 2, 4, 6]}",
        "magnitude": "{choice: [1.0, 2.0, 5.0, 10.0]}",
        "last_recurrent_init": "{choice: [uniform, bound]}",
    }
