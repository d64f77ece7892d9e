"""LEM, the long expressive memory: two states on learned time scales."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from longhaul_trainers.cells.base import Cell, CellSettings, State
from longhaul_trainers.initialisation import uniform
from longhaul_trainers.parameter_groups import ParameterGroup
from longhaul_trainers.scans.inputs import hoisted_input_product
from longhaul_trainers.scans.lem import lem_scan
from longhaul_trainers.settings import setting
from longhaul_trainers.slots import slot_vector, stack_slots


@dataclass(frozen=True, kw_only=True)
class LEMSettings(CellSettings):
    """Settings of `LEM`."""

    name: ClassVar[str] = "lem"
    dt: float = setting(
        0.2, gt=0, le=1, help="longest step size; small dt, long memory: it matters most"
    )


@final
class LEM(Cell):
    """Two coupled states with gated step sizes: a discretised differential equation of many scales.

    The output is y; the carried state is ``(y, z)``, 0 at first. All weights and biases start
    uniform on ±1 / sqrt(n). The time constants of both states are gated between 1 / dt steps and
    for ever. In all parameters the order is d1, d2, z, y.

    Published dt: 0.024 for adding over 10,000 steps, 0.21 and 0.31 for MNIST in order and permuted
    (gradients clipped at 1.0 and 1.1), 0.44 for noise-padded CIFAR-10, 0.00017 for EigenWorms,
    0.24 for heart rate, 1 for Google12 and FitzHugh-Nagumo, always with Adam, at 0.0009 to 0.009.
    """

    settings_type = LEMSettings
    kind = "oscillator"
    equations = (
        "d1 = dt * sigmoid(W_1 y + V_1 x + b_1)\n"
        "d2 = dt * sigmoid(W_2 y + V_2 x + b_2)\n"
        "z' = (1 - d2) * z + d2 * tanh(W_z y + V_z x + b_z)\n"
        "y' = (1 - d1) * y + d1 * tanh(W_y z' + V_y x + b_y)"
    )
    reference = (
        'Rusch, Mishra, Erichson, Mahoney, "Long Expressive Memory for Sequence Modeling", ICLR '
        "2022, arXiv:2110.04744"
    )
    bibtex = """@inproceedings{rusch2022lem,
  title = {Long Expressive Memory for Sequence Modeling},
  author = {Rusch, T. Konstantin and Mishra, Siddhartha and Erichson, N. Benjamin and Mahoney, \
Michael W.},
  booktitle = {International Conference on Learning Representations},
  year = {2022},
}"""
    differs = (
        "Each b is the sum of two trained vectors, as in the authors' program: without it the "
        "published numbers of parameters, equal to those of torch.nn.LSTM, would not come out, and "
        "biases would learn half as fast."
    )
    count_formula = "4 * n * (m + n + 2)"
    search_ranges: ClassVar = {
        "training.optimizer.learning_rate": "{loguniform: [5e-4, 1e-2]}",
        "training.clip_norm": "{choice: [null, 1]}",
        "dt": "{loguniform: [1e-4, 1]}",
    }
    dt: Tensor

    def __init__(
        self,
        input_size: int,
        slots: Sequence[LEMSettings],
        generators: Sequence[torch.Generator],
    ) -> None:
        super().__init__(input_size, slots, generators)
        size = self.hidden_size
        bound = size**-0.5

        def draw(*shape: int) -> nn.Parameter:
            return stack_slots(
                slots, generators, lambda _, drawn: uniform(-bound, bound, *shape, generator=drawn)
            )

        self.recurrent_weight = draw(3 * size, size)
        self.inner_weight = draw(size, size)
        self.input_weight = draw(4 * size, input_size)
        self.input_bias = draw(4 * size)
        self.recurrent_bias = draw(4 * size)
        self.register_buffer("dt", slot_vector(slots, lambda slot: slot.dt))

    @classmethod
    def parameter_count(cls, input_size: int, settings: CellSettings) -> int:
        size = settings.hidden_size
        return 4 * size * (input_size + size + 2)

    def initial_state(self, inputs: Tensor) -> State:
        return self.zero_state(inputs, self.hidden_size, self.hidden_size)

    def forward(self, inputs: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        state = self.initial_state(inputs) if state is None else state
        y, z = state
        bias = self.input_bias + self.recurrent_bias
        products = hoisted_input_product(inputs, self.input_weight, bias)
        outputs, last = lem_scan(
            self.recurrent_weight, self.inner_weight, products, y, z, dt=self.dt
        )
        return outputs, (outputs[-1], last)

    def parameter_groups(self) -> list[ParameterGroup]:
        return [ParameterGroup("main", tuple(self.parameters()), torch.ones(self.pack_size))]
