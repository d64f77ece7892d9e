"""LinOSS: forced harmonic oscillators, in blocks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from longhaul_trainers.cells.base import State
from longhaul_trainers.cells.feedthrough import Feedthrough
from longhaul_trainers.cells.stack import Layer, StackedCell, StackSettings
from longhaul_trainers.initialisation import uniform
from longhaul_trainers.parameter_groups import ParameterGroup
from longhaul_trainers.scans.inputs import hoisted_input_product
from longhaul_trainers.scans.linear import pair_scan
from longhaul_trainers.scans.slotwise import slotwise
from longhaul_trainers.settings import setting
from longhaul_trainers.slots import stack_slots


@dataclass(frozen=True, kw_only=True)
class LinOSSSettings(StackSettings):
    """Settings of `LinOSS`."""

    name: ClassVar[str] = "linoss"
    gate: Literal["glu", "gelu_glu", "none"] = setting(
        "gelu_glu",
        structural=True,
        help="blocks: between layer and skip; gelu_glu: a GELU before it",
    )
    state_size: int | None = setting(
        None, ge=1, structural=True, help="complex oscillators N of a layer; null: hidden_size"
    )
    discretization: Literal["im", "imex"] = setting(
        "im",
        structural=True,
        help="im: implicit, which forgets; imex: symplectic, which keeps everything",
    )

    @property
    def states(self) -> int:
        """N."""
        return self.state_size or self.hidden_size


class LinOSSLayer(Layer[LinOSSSettings]):
    """One layer of `LinOSS`.

    A complex oscillator is two real ones of equal frequency. The state is (P, B, 2, 2N): all z,
    then all y; of each the real parts first.
    """

    def __init__(
        self,
        input_size: int,
        slots: Sequence[LinOSSSettings],
        generators: Sequence[torch.Generator],
        depth: int,
    ) -> None:
        super().__init__(input_size, slots, generators, depth)
        states, size = slots[0].states, self.hidden_size
        self.state_size = states
        self.implicit = slots[0].discretization == "im"

        def draw(low: float, high: float, *shape: int) -> torch.nn.Parameter:
            return stack_slots(
                slots, generators, lambda _, drawn: uniform(low, high, *shape, generator=drawn)
            )

        self.frequency = draw(0, 1, states)
        into, out = 1 / math.sqrt(input_size), 1 / math.sqrt(states)
        # Real parts in the upper half of B and the left half of C, imaginary ones in the other.
        self.input_weight = draw(-into, into, 2 * states, input_size)
        self.output_weight = draw(-out, out, size, 2 * states)
        self.feedthrough = Feedthrough(input_size, slots, generators)
        self.step = draw(0, 1, states)

    @classmethod
    def parameter_count(cls, input_size: int, settings: LinOSSSettings) -> int:
        weights = 2 * settings.states * (input_size + settings.hidden_size)
        return 2 * settings.states + weights + Feedthrough.parameter_count(input_size, settings)

    def initial_state(self, inputs: Tensor) -> State:
        return (inputs.new_zeros(self.pack_size, inputs.shape[2], 2, 2 * self.state_size),)

    def forward(self, inputs: Tensor, state: State | None) -> tuple[Tensor, State]:
        (initial,) = self.initial_state(inputs) if state is None else state
        products = hoisted_input_product(inputs, self.input_weight).transpose(0, 1)
        matrices, forces = slotwise(self._forced, (self.frequency, self.step, products))
        hidden = pair_scan(matrices, forces.transpose(0, 1), initial)
        # Re(C y): the imaginary parts enter with the other sign
        real, imaginary = self.output_weight.chunk(2, -1)
        read = hoisted_input_product(hidden[..., 1, :], torch.cat([real, -imaginary], -1))
        return self.feedthrough(read, inputs), (hidden[-1],)

    def _transition(self, frequency: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
        """The matrices (P, 2, 2, N) and the forces' factors (P, 2, N)."""
        A, dt = frequency.relu(), step.sigmoid()
        if self.implicit:
            S = 1 / (1 + dt * dt * A)
            matrix = (S, -dt * A * S, dt * S, S)
            factors = (dt * S, dt * dt * S)
        else:
            matrix = (torch.ones_like(A), -dt * A, dt, 1 - dt * dt * A)
            factors = (dt, dt * dt)
        return torch.stack(matrix, -2).unflatten(-2, (2, 2)), torch.stack(factors, -2)

    def _forced(self, frequency: Tensor, step: Tensor, products: Tensor) -> tuple[Tensor, Tensor]:
        matrices, factors = self._transition(frequency, step)
        both = torch.cat([factors, factors], -1)[:, None, None]
        return torch.cat([matrices, matrices], -1), products.unsqueeze(-2) * both

    def parameter_groups(self) -> list[ParameterGroup]:
        return [ParameterGroup("main", tuple(self.parameters()), torch.ones(self.pack_size))]

    @torch.no_grad()
    def diagnostics(self) -> dict[str, Tensor]:
        """``spectral_radius``: the largest modulus of an eigenvalue; imex: 1 while stable."""
        (radius,) = slotwise(self._radius, (self.frequency.double(), self.step.double()))
        return {"spectral_radius": radius}

    def _radius(self, frequency: Tensor, step: Tensor) -> tuple[Tensor]:
        matrices, _ = self._transition(frequency, step)
        (a, b), (c, d) = (row.unbind(1) for row in matrices.unbind(1))
        mean, determinant = (a + d) / 2, a * d - b * c
        spread = mean * mean - determinant
        real = mean.abs() + spread.clamp(min=0).sqrt()
        return (torch.where(spread < 0, determinant.abs().sqrt(), real).amax(1),)


@final
class LinOSS(StackedCell[LinOSSSettings]):
    """Linear oscillatory state-space layers: y'' = -A y + B x, discretised in time.

    A = max(a, 0) with a uniform on (0, 1) at first, dt = sigmoid(s) with s uniform on (0, 1); B and
    C are complex, uniform on ±1 / sqrt(I) and ±1 / sqrt(N) in both parts, D normal.

    ``im`` damps what it does not hear, the more the larger dt^2 A; ``imex`` has eigenvalues of
    modulus 1 exactly, as long as dt^2 A <= 4. An oscillator whose a falls below 0 stands still
    (A = 0) and gets no gradient for a any more.
    """

    settings_type = LinOSSSettings
    kind = "linear"
    layer_type = LinOSSLayer
    equations = (
        "im:   z' = z + dt (-A y' + B x), y' = y + dt z'\n"
        "imex: z' = z + dt (-A y + B x), y' = y + dt z'\n"
        "output Re(C y') + D x"
    )
    reference = 'Rusch and Rus, "Oscillatory State-Space Models", ICLR 2025, arXiv:2410.03943'
    bibtex = """@inproceedings{rusch2025oscillatory,
  title = {Oscillatory State-Space Models},
  author = {Rusch, T. Konstantin and Rus, Daniela},
  booktitle = {International Conference on Learning Representations},
  year = {2025},
}"""
    differs = (
        "Layer normalisation by default, so that a sequence's outputs do not depend on the others "
        "in its batch; published with norm: batch. No dropout, no pooling over time. B and C are "
        "complex as in the authors' program; the paper writes real matrices."
    )
    count_formula = "layers * (2 * n + 4 * n * n + 3 * n + 2 * n * (n + 1)) + n * (m + 1)"
    search_ranges: ClassVar = {
        "training.optimizer.learning_rate": "{choice: [1e-5, 1e-4, 1e-3]}",
        "hidden_size": "{choice: [16, 64, 128]}",
        "state_size": "{choice: [16, 64, 256]}",
        "layers": "{choice: [2, 4, 6]}",
        "discretization": "{choice: [im, imex]}",
    }
