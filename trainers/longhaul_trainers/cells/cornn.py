"""coRNN: a network of coupled, damped and driven oscillators."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import torch
from torch import Tensor, nn

from longhaul_trainers.cells.base import Cell, CellSettings, State
from longhaul_trainers.initialisation import uniform
from longhaul_trainers.parameter_groups import ParameterGroup
from longhaul_trainers.scans.cornn import cornn_scan
from longhaul_trainers.scans.inputs import hoisted_input_product
from longhaul_trainers.settings import setting
from longhaul_trainers.slots import slot_vector, stack_slots


@dataclass(frozen=True, kw_only=True)
class CoRNNSettings(CellSettings):
    """Settings of `CoRNN`; defaults as published for sequential MNIST."""

    name: ClassVar[str] = "cornn"
    dt: float = setting(0.042, gt=0, help="step size; keep dt * epsilon < 2, see the notes")
    gamma: float = setting(
        2.7, ge=0, help="stiffness; keep dt^2 * gamma < 4 - 2 * dt * epsilon, see the notes"
    )
    epsilon: float = setting(4.7, ge=0, help="damping of the velocities")
    damping: Literal["explicit", "implicit"] = setting(
        "explicit", help="whether the old velocity is damped or the new one"
    )

    @property
    def stable(self) -> bool:
        """Whether the linear part of a step has a spectral radius below 1, gamma being above 0.

        The Jury test of its matrix, for explicit damping [[1 - dt eps, -dt gamma],
        [dt (1 - dt eps), 1 - dt^2 gamma]].
        """
        damped, pulled = self.dt * self.epsilon, self.dt**2 * self.gamma
        if self.damping == "implicit":
            return pulled < 4 + 2 * damped and damped > 0
        return pulled < 4 - 2 * damped and 0 < damped < 2


@final
class CoRNN(Cell):
    """Coupled, damped oscillators driven by the input: the new velocity moves the position.

    The output is the position y; the carried state is ``(y, z)``, 0 at first. All weights and b
    start uniform on ±1 / sqrt(m + 2 n).

    A step is stable where dt * epsilon < 2 and dt^2 * gamma < 4 - 2 * dt * epsilon, with implicit
    damping where dt^2 * gamma < 4 + 2 * dt * epsilon. Outside, states grow from step to step until
    training diverges: far outside at once, near the border only on long sequences. Nothing is
    refused, as two ranges of a search may well overlap the border; choose ranges whose corners lie
    inside, as the shipped spaces do.

    Published, all with explicit damping: dt, gamma, epsilon = 0.06, 66, 15 for the adding problem,
    0.042, 2.7, 4.7 and 0.076, 0.4, 8 for MNIST in order and permuted, 0.034, 1.3, 12.7 for
    noise-padded CIFAR-10, 0.1, 0.2, 6.4 for HAR-2, without clipping, with Adam at 0.0006 to 0.02.
    """

    settings_type = CoRNNSettings
    kind = "oscillator"
    equations = (
        "z' = z + dt * (tanh(W y + W_z z + V x + b) - gamma * y - epsilon * z)\n"
        "implicit damping: z' = (z + dt * (tanh(...) - gamma * y)) / (1 + dt * epsilon)\n"
        "y' = y + dt * z'"
    )
    reference = (
        'Rusch and Mishra, "Coupled Oscillatory Recurrent Neural Network (coRNN): An accurate and '
        '(gradient) stable architecture for learning long time dependencies", ICLR 2021, '
        "arXiv:2010.00951"
    )
    bibtex = """@inproceedings{rusch2021coupled,
  title = {Coupled Oscillatory Recurrent Neural Network ({coRNN}): An accurate and (gradient) \
stable architecture for learning long time dependencies},
  author = {Rusch, T. Konstantin and Mishra, Siddhartha},
  booktitle = {International Conference on Learning Representations},
  year = {2021},
}"""
    differs = (
        "The paper leaves open whether the old or the new velocity is damped; its authors' "
        "programs damp the old one, which is the default here and has the narrower region of "
        "stability."
    )
    count_formula = "n * (m + 2 * n + 1)"
    search_ranges: ClassVar = {
        "training.optimizer.learning_rate": "{loguniform: [1e-4, 3e-2]}",
        "dt": "{loguniform: [0.01, 0.08]}",
        "gamma": "{loguniform: [0.1, 100]}",
        "epsilon": "{loguniform: [1, 20]}",
        "damping": "{choice: [explicit, implicit]}",
    }
    dt: Tensor
    gamma: Tensor
    epsilon: Tensor
    implicit: Tensor

    def __init__(
        self,
        input_size: int,
        slots: Sequence[CoRNNSettings],
        generators: Sequence[torch.Generator],
    ) -> None:
        super().__init__(input_size, slots, generators)
        size = self.hidden_size
        bound = (input_size + 2 * size) ** -0.5

        def draw(*shape: int) -> nn.Parameter:
            return stack_slots(
                slots, generators, lambda _, drawn: uniform(-bound, bound, *shape, generator=drawn)
            )

        self.recurrent_weight = draw(size, 2 * size)
        self.input_weight = draw(size, input_size)
        self.bias = draw(size)
        self.register_buffer(
            "implicit", torch.tensor([slot.damping == "implicit" for slot in slots])
        )
        self.register_buffer("dt", slot_vector(slots, lambda slot: slot.dt))
        self.register_buffer("gamma", slot_vector(slots, lambda slot: slot.gamma))
        self.register_buffer("epsilon", slot_vector(slots, lambda slot: slot.epsilon))

    @classmethod
    def parameter_count(cls, input_size: int, settings: CellSettings) -> int:
        size = settings.hidden_size
        return size * (input_size + 2 * size + 1)

    def initial_state(self, inputs: Tensor) -> State:
        return self.zero_state(inputs, self.hidden_size, self.hidden_size)

    def forward(self, inputs: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        state = self.initial_state(inputs) if state is None else state
        position, velocity = state
        # With implicit damping the whole new velocity is divided by 1 + dt * epsilon.
        damped = self.dt * self.epsilon
        divisor = torch.where(self.implicit, 1 + damped, torch.ones_like(damped))
        kept = torch.where(self.implicit, torch.ones_like(damped), 1 - damped)
        positions, last = cornn_scan(
            self.recurrent_weight,
            hoisted_input_product(inputs, self.input_weight, self.bias),
            position,
            velocity,
            keep=kept / divisor,
            pull=-self.dt * self.gamma / divisor,
            push=self.dt / divisor,
            dt=self.dt,
        )
        return positions, (positions[-1], last)

    def parameter_groups(self) -> list[ParameterGroup]:
        parameters = (self.recurrent_weight, self.input_weight, self.bias)
        return [ParameterGroup("main", parameters, torch.ones(self.pack_size))]
