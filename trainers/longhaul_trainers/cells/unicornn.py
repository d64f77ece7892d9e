"""UnICORNN: stacked layers of undamped, uncoupled oscillators."""

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
from longhaul_trainers.scans.inputs import hoisted_input_product
from longhaul_trainers.scans.unicornn import unicornn_scan
from longhaul_trainers.settings import setting
from longhaul_trainers.slots import slot_vector, stack_slots


@dataclass(frozen=True, kw_only=True)
class UnICORNNSettings(StackSettings):
    """Settings of `UnICORNN`."""

    name: ClassVar[str] = "unicornn"
    layers: int = setting(3, ge=1, structural=True, help="number of recurrent layers")
    mode: Literal["bare", "block"] = setting(
        "bare",
        structural=True,
        help="bare: layer upon layer, as published; block: an encoder, then norm, layer, gate and "
        "skip each time",
    )
    dt: float = setting(0.1, gt=0, help="step size of the first layer")
    last_dt: float | None = setting(
        None, gt=0, help="step size of the last layer, geometric in between; null: dt in all"
    )
    alpha: float = setting(10.0, ge=0, help="stiffness of all oscillators")

    def layer_dt(self, depth: int) -> float:
        """The step size of one layer, counted from 0."""
        if self.last_dt is None or self.layers == 1:
            return self.dt
        part = depth / (self.layers - 1)
        return float(self.dt ** (1 - part) * self.last_dt**part)


class UnICORNNLayer(Layer[UnICORNNSettings]):
    """One layer of `UnICORNN`; its state is position and velocity."""

    state_count = 2
    dt: Tensor
    alpha: Tensor

    def __init__(
        self,
        input_size: int,
        slots: Sequence[UnICORNNSettings],
        generators: Sequence[torch.Generator],
        depth: int,
    ) -> None:
        super().__init__(input_size, slots, generators, depth)
        size = self.hidden_size
        # Kaiming uniform with the slope 8 that the authors' program names.
        bound = math.sqrt(6 / ((1 + 8**2) * input_size))

        def draw(low: float, high: float, *shape: int) -> nn.Parameter:
            return stack_slots(
                slots, generators, lambda _, drawn: uniform(low, high, *shape, generator=drawn)
            )

        self.input_weight = draw(-bound, bound, size, input_size)
        self.bias = nn.Parameter(torch.zeros(len(slots), size))
        self.recurrent_weight = draw(0, 1, size)
        self.time_scale = draw(-0.1, 0.1, size)
        self.register_buffer("dt", slot_vector(slots, lambda slot: slot.layer_dt(depth)))
        self.register_buffer("alpha", slot_vector(slots, lambda slot: slot.alpha))

    @classmethod
    def parameter_count(cls, input_size: int, settings: UnICORNNSettings) -> int:
        return settings.hidden_size * (input_size + 3)

    def initial_state(self, inputs: Tensor) -> State:
        return self.zero_state(inputs, self.hidden_size, self.hidden_size)

    def forward(self, inputs: Tensor, state: State | None) -> tuple[Tensor, State]:
        state = self.initial_state(inputs) if state is None else state
        position, velocity = state
        # slot by slot: a sigmoid may round the tail of a vector otherwise than the rest
        gates = torch.stack([one.sigmoid() for one in self.time_scale])
        positions, last = unicornn_scan(
            self.recurrent_weight,
            self.dt[:, None] * gates,
            hoisted_input_product(inputs, self.input_weight, self.bias),
            position,
            velocity,
            alpha=self.alpha,
        )
        return positions, (positions[-1], last)

    def parameter_groups(self) -> list[ParameterGroup]:
        parameters = (self.input_weight, self.bias, self.recurrent_weight, self.time_scale)
        return [ParameterGroup("main", parameters, torch.ones(self.pack_size))]


@final
class UnICORNN(StackedCell[UnICORNNSettings]):
    """A symplectic step along a Hamiltonian system: it loses nothing, forwards or backwards.

    V starts uniform on ±sqrt(6 / (65 m)) and b at 0, w uniform on (0, 1), c on ±0.1; states start
    at 0. A layer's outputs are its positions y.

    Published, with Adam and unclipped gradients: permuted MNIST 3 layers of 256, learning rate
    0.0025, dt 0.19, alpha 30.65; noise-padded CIFAR-10 3 of 128, 0.0031, 0.126, 13; respiratory
    rate 3 of 128, 0.004, 0.011, 9; EigenWorms 2 of 32, 0.0076, dt 0.000028 and 0.034, alpha 0; IMDB
    2 of 128, 0.00016, dt 0.0066 and 0.205.
    """

    settings_type = UnICORNNSettings
    kind = "oscillator"
    layer_type = UnICORNNLayer
    equations = (
        "z' = z - dt * sigmoid(c) * (tanh(w * y + V x + b) + alpha * y)\n"
        "y' = y + dt * sigmoid(c) * z'"
    )
    reference = (
        'Rusch and Mishra, "UnICORNN: A recurrent model for learning very long time dependencies", '
        "ICML 2021, arXiv:2103.05487"
    )
    bibtex = """@inproceedings{rusch2021unicornn,
  title = {{UnICORNN}: A recurrent model for learning very long time dependencies},
  author = {Rusch, T. Konstantin and Mishra, Siddhartha},
  booktitle = {International Conference on Machine Learning},
  year = {2021},
}"""
    differs = (
        "There is no dropout between the layers; the authors drop the same units at all steps, a "
        "tenth of them, or 0.6 on IMDB. States are kept for the backward pass; the authors' CUDA "
        "program computes them backwards from the last one, which saves memory, but rounds."
    )
    count_formula = "n * (m + 3) + (layers - 1) * n * (n + 3)"
    search_ranges: ClassVar = {
        "training.optimizer.learning_rate": "{loguniform: [1e-4, 1e-2]}",
        "layers": "{choice: [1, 2, 3]}",
        "dt": "{loguniform: [1e-5, 0.3]}",
        "last_dt": "{loguniform: [1e-3, 0.3]}",
        "alpha": "{uniform: [0, 40]}",
    }
