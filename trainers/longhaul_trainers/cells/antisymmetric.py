"""AntisymmetricRNN: a residual recurrence whose linear part turns instead of growing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from longhaul_trainers.cells.base import Cell, CellSettings, State
from longhaul_trainers.matrices.skew_diffusion import SkewDiffusionMatrix, SkewDiffusionSettings
from longhaul_trainers.nonlinearities import Tanh, TanhSettings
from longhaul_trainers.parameter_groups import ParameterGroup
from longhaul_trainers.precision import PRECISIONS, Precision
from longhaul_trainers.scans.inputs import hoisted_input_product
from longhaul_trainers.scans.leaky import leaky_scan
from longhaul_trainers.scans.stepwise import stepwise_scan
from longhaul_trainers.settings import setting
from longhaul_trainers.slots import slot_vector, stack_slots


@dataclass(frozen=True, kw_only=True)
class AntisymmetricSettings(SkewDiffusionSettings, CellSettings):
    """Settings of `AntisymmetricRNN`."""

    name: ClassVar[str] = "antisymmetric"
    epsilon: float = setting(0.01, gt=0, help="step size; 1 / epsilon steps are one unit of time")
    gated: bool = setting(
        False, structural=True, help="whether a gate of its own scales each unit's step"
    )


@final
class AntisymmetricRNN(Cell):
    """The Euler steps of a differential equation that neither explodes nor forgets.

    V starts normal with deviation 1 / m, M with deviation sigma_w / n, b at 0, the gate's bias b_z
    at 1; h0 = 0. The gated cell has V_z and b_z besides and shares the product W h with its gate.

    Only epsilon, gamma, sigma_w and the learning rate matter: epsilon times the length of the
    sequence is how far the equation is followed. An Euler step along a pure rotation grows, by a
    factor of |1 + i epsilon w| for an angular velocity w: gamma near epsilon w^2 / 2 makes up for
    it, and gamma far above 1 / (epsilon T) forgets. The authors searched sigma_w among 0, 1, 2, 4,
    8, 16, with SGD or Adagrad.
    """

    settings_type = AntisymmetricSettings
    kind = "residual"
    equations = (
        "h' = h + epsilon * tanh(W h + V x + b), W = M - M^T - gamma I\n"
        "gated: h' = h + epsilon * sigmoid(W h + V_z x + b_z) * tanh(W h + V x + b)"
    )
    reference = SkewDiffusionMatrix.reference
    bibtex = """@inproceedings{chang2019antisymmetricrnn,
  title = {{AntisymmetricRNN}: A Dynamical System View on Recurrent Neural Networks},
  author = {Chang, Bo and Chen, Minmin and Haber, Eldad and Chi, Ed H.},
  booktitle = {International Conference on Learning Representations},
  year = {2019},
}"""
    differs = (
        "M is strictly upper triangular, n (n - 1) / 2 numbers, which is what the published counts "
        "of parameters amount to; programs with a full M train W twice as fast at the same "
        "learning rate under Adam or RMSprop."
    )
    count_formula = "n * (n - 1) // 2 + n * (m + 1)"
    search_ranges: ClassVar = {
        "training.optimizer.learning_rate": "{loguniform: [1e-4, 1e-1]}",
        "epsilon": "{loguniform: [0.001, 1]}",
        "gamma": "{loguniform: [0.001, 1]}",
        "sigma_w": "{choice: [0, 1, 2, 4, 8]}",
    }
    epsilon: Tensor

    def __init__(
        self,
        input_size: int,
        slots: Sequence[AntisymmetricSettings],
        generators: Sequence[torch.Generator],
    ) -> None:
        super().__init__(input_size, slots, generators)
        size = self.hidden_size
        self.gated = slots[0].gated
        self.recurrent = SkewDiffusionMatrix(size, slots, generators)
        rows = 2 * size if self.gated else size

        def draw_weight(_: AntisymmetricSettings, generator: torch.Generator) -> Tensor:
            return torch.randn(rows, input_size, generator=generator) / input_size

        def draw_bias(slot: AntisymmetricSettings, _: torch.Generator) -> Tensor:
            return torch.cat([torch.zeros(size), torch.ones(rows - size)])

        self.input_weight = stack_slots(slots, generators, draw_weight)
        self.bias = stack_slots(slots, generators, draw_bias)
        self.nonlinearity = Tanh(size, [TanhSettings()] * len(slots), generators)
        self.register_buffer("epsilon", slot_vector(slots, lambda slot: slot.epsilon))

    @classmethod
    def parameter_count(cls, input_size: int, settings: CellSettings) -> int:
        if not isinstance(settings, AntisymmetricSettings):
            raise TypeError(f"expected settings of an AntisymmetricRNN, found {settings!r}")
        size = settings.hidden_size
        inputs = size * (input_size + 1) * (2 if settings.gated else 1)
        return SkewDiffusionMatrix.parameter_count(size, settings) + inputs

    @classmethod
    def precisions(cls, settings: CellSettings) -> tuple[Precision, ...]:
        if isinstance(settings, AntisymmetricSettings) and settings.gated:
            return super().precisions(settings)  # stepwise
        return PRECISIONS

    def initial_state(self, inputs: Tensor) -> State:
        return self.zero_state(inputs, self.hidden_size)

    def forward(self, inputs: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        state = self.initial_state(inputs) if state is None else state
        products = hoisted_input_product(inputs, self.input_weight, self.bias)
        W = self.recurrent.matrix()
        if self.gated:
            epsilon = self.epsilon[:, None, None]
            return stepwise_scan(_gated_step, (W.mT, epsilon), products, state)
        hidden = leaky_scan(
            W,
            products,
            state[0],
            self.nonlinearity,
            gain=self.epsilon,
            precision=self.precision,
        )
        return hidden, (hidden[-1],)

    def parameter_groups(self) -> list[ParameterGroup]:
        main = ParameterGroup("main", (self.input_weight, self.bias), torch.ones(self.pack_size))
        return [*self.recurrent.parameter_groups(), main]

    def diagnostics(self) -> dict[str, Tensor]:
        return self.recurrent.diagnostics()


def _gated_step(parameters: Sequence[Tensor], products: Tensor, state: State) -> State:
    transposed, epsilon = parameters
    (h,) = state
    turned = torch.bmm(h, transposed)
    candidate, gate = products.chunk(2, -1)
    step = torch.sigmoid(turned + gate) * torch.tanh(turned + candidate)
    return (h + epsilon * step,)
