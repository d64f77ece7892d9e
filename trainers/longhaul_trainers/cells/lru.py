"""LRU: a diagonal complex linear recurrence, in blocks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from longhaul_trainers.cells.base import State
from longhaul_trainers.cells.feedthrough import Feedthrough
from longhaul_trainers.cells.stack import Layer, StackedCell, StackSettings
from longhaul_trainers.errors import SettingError
from longhaul_trainers.parameter_groups import ParameterGroup
from longhaul_trainers.scans.inputs import hoisted_input_product
from longhaul_trainers.scans.linear import complex_matrices, pair_scan
from longhaul_trainers.scans.slotwise import slotwise
from longhaul_trainers.settings import setting
from longhaul_trainers.slots import slot_vector, stack_slots


@dataclass(frozen=True, kw_only=True)
class LRUSettings(StackSettings):
    """Settings of `LRU`; defaults as published for long sequences, but for the norm."""

    name: ClassVar[str] = "lru"
    layers: int = setting(4, ge=1, structural=True, help="number of recurrent layers")
    gate: Literal["glu", "gelu_glu", "none"] = setting(
        "gelu_glu",
        structural=True,
        help="blocks: between layer and skip; gelu_glu: a GELU before it",
    )
    state_size: int | None = setting(
        None, ge=1, structural=True, help="complex states N of a layer; null: half of hidden_size"
    )
    r_min: float = setting(0.0, ge=0, lt=1, help="least modulus of an initial eigenvalue")
    r_max: float = setting(1.0, gt=0, le=1, help="largest modulus of an initial eigenvalue")
    max_phase: float = setting(2 * math.pi, gt=0, help="largest initial phase; pi / 10 for T > 1e4")
    learning_rate_ratio: float = setting(
        0.5, gt=0, help="learning rate of nu, theta, gamma and B, as a multiple of the trial's"
    )

    @property
    def states(self) -> int:
        """N."""
        return self.state_size or (self.hidden_size + 1) // 2

    def check(self) -> None:
        if self.r_min >= self.r_max:
            raise SettingError("r_min", f"expected less than r_max {self.r_max}")


class LRULayer(Layer[LRUSettings]):
    """One layer of `LRU`. Its state is (P, B, 2, N): real parts, then imaginary ones."""

    def __init__(
        self,
        input_size: int,
        slots: Sequence[LRUSettings],
        generators: Sequence[torch.Generator],
        depth: int,
    ) -> None:
        super().__init__(input_size, slots, generators, depth)
        states, size = slots[0].states, self.hidden_size
        self.state_size = states
        self.nu = stack_slots(slots, generators, _draw_nu)
        self.theta = stack_slots(slots, generators, _draw_theta)
        # log sqrt(1 - |lambda|^2), from which the inputs' scale starts
        gamma = [torch.expm1(-2 * one.double().exp()).neg().log() / 2 for one in self.nu.detach()]
        self.gamma = torch.nn.Parameter(torch.stack(gamma).float())

        def draw(rows: int, columns: int, deviation: float) -> torch.nn.Parameter:
            return stack_slots(
                slots,
                generators,
                lambda _, drawn: deviation * torch.randn(rows, columns, generator=drawn),
            )

        # Real parts in the upper half of B and the left half of C, imaginary ones in the other.
        self.input_weight = draw(2 * states, input_size, 1 / math.sqrt(2 * input_size))
        self.output_weight = draw(size, 2 * states, 1 / math.sqrt(states))
        self.feedthrough = Feedthrough(input_size, slots, generators)

    @classmethod
    def parameter_count(cls, input_size: int, settings: LRUSettings) -> int:
        weights = 2 * settings.states * (input_size + settings.hidden_size)
        return 3 * settings.states + weights + Feedthrough.parameter_count(input_size, settings)

    def initial_state(self, inputs: Tensor) -> State:
        return (inputs.new_zeros(self.pack_size, inputs.shape[2], 2, self.state_size),)

    def forward(self, inputs: Tensor, state: State | None) -> tuple[Tensor, State]:
        (initial,) = self.initial_state(inputs) if state is None else state
        given = (self.nu, self.theta, self.gamma, self.input_weight)
        eigenvalues, weights = slotwise(_coefficients, given)
        products = hoisted_input_product(inputs, weights).unflatten(-1, (2, -1))
        hidden = pair_scan(eigenvalues, products, initial)
        # Re(C h): the imaginary parts enter with the other sign
        real, imaginary = self.output_weight.chunk(2, -1)
        read = hoisted_input_product(hidden.flatten(-2), torch.cat([real, -imaginary], -1))
        return self.feedthrough(read, inputs), (hidden[-1],)

    def parameter_groups(self) -> list[ParameterGroup]:
        ratio = slot_vector(self.slots, lambda slot: slot.learning_rate_ratio)
        recurrent = (self.nu, self.theta, self.gamma, self.input_weight)
        main = (self.output_weight, *self.feedthrough.parameters())
        return [
            ParameterGroup("recurrent", recurrent, ratio, decay=False),
            ParameterGroup("main", main, torch.ones(self.pack_size)),
        ]

    @torch.no_grad()
    def diagnostics(self) -> dict[str, Tensor]:
        """``spectral_radius``: the largest modulus of an eigenvalue."""
        (radius,) = slotwise(lambda nu: ((-nu.exp()).exp().amax(1),), (self.nu.double(),))
        return {"spectral_radius": radius}


def _draw_nu(slot: LRUSettings, generator: torch.Generator) -> Tensor:
    drawn = torch.rand(slot.states, generator=generator, dtype=torch.float64)
    # 0 would be an eigenvalue 0, whose nu is infinite
    square = (slot.r_min**2 + drawn * (slot.r_max**2 - slot.r_min**2)).clamp(min=1e-12)
    return (-0.5 * square.log()).log().float()


def _draw_theta(slot: LRUSettings, generator: torch.Generator) -> Tensor:
    drawn = torch.rand(slot.states, generator=generator, dtype=torch.float64)
    return (slot.max_phase * drawn.clamp(min=1e-7)).log().float()


def _coefficients(
    nu: Tensor, theta: Tensor, gamma: Tensor, input_weight: Tensor
) -> tuple[Tensor, Tensor]:
    modulus, phase = (-nu.exp()).exp(), theta.exp()
    eigenvalues = complex_matrices(modulus * phase.cos(), modulus * phase.sin())
    scale = gamma.exp()
    return eigenvalues, torch.cat([scale, scale], -1).unsqueeze(-1) * input_weight


@final
class LRU(StackedCell[LRUSettings]):
    """The linear recurrent unit: complex eigenvalues inside the unit disc, read by a linear map.

    The moduli's squares start uniform between ``r_min``^2 and ``r_max``^2, the phases uniform on
    (0, ``max_phase``); gamma starts where it makes the state's variance that of its input; B and C
    start complex normal of variance 1 / I and 2 / N, D normal. nu, theta, gamma and B learn at
    ``learning_rate_ratio`` times the learning rate and without weight decay, as published; the
    rest with the trial's decay (published: AdamW with 0.05).

    For dependencies over thousands of steps: ``r_min`` 0.9 or more and a ``max_phase`` of pi / 10
    or less.
    """

    settings_type = LRUSettings
    kind = "linear"
    layer_type = LRULayer
    equations = (
        "h' = lambda * h + exp(gamma) * (B x), lambda = exp(-exp(nu) + i exp(theta))\n"
        "y = Re(C h') + D x"
    )
    reference = (
        'Orvieto et al., "Resurrecting Recurrent Neural Networks for Long Sequences", ICML 2023, '
        "arXiv:2303.06349"
    )
    bibtex = """@inproceedings{orvieto2023resurrecting,
  title = {Resurrecting Recurrent Neural Networks for Long Sequences},
  author = {Orvieto, Antonio and Smith, Samuel L. and Gu, Albert and Fernando, Anushan and \
Gulcehre, Caglar and Pascanu, Razvan and De, Soham},
  booktitle = {International Conference on Machine Learning},
  year = {2023},
}"""
    differs = (
        "Layer normalisation by default, so that a sequence's outputs do not depend on the others "
        "in its batch; published with norm: batch. No dropout (published: 0.1) and no pooling over "
        "time: the task says which steps are read. D is a vector in blocks, as in a well-known "
        "program for this cell, and a matrix in bare mode, where sizes differ. Half as many "
        "complex states as hidden units, as in that program (128 and 256), unless state_size says "
        "otherwise."
    )
    count_formula = (
        "layers * (3 * ((n + 1) // 2) + 4 * n * ((n + 1) // 2) + 3 * n + 2 * n * (n + 1))"
        " + n * (m + 1)"
    )
    search_ranges: ClassVar = {
        "training.optimizer.learning_rate": "{loguniform: [1e-4, 1e-2]}",
        "learning_rate_ratio": "{choice: [0.25, 0.5, 1.0]}",
        "r_min": "{choice: [0.0, 0.5, 0.9, 0.99]}",
        "r_max": "{choice: [0.999, 1.0]}",
        "max_phase": "{loguniform: [0.0628, 6.283]}",
        "layers": "{int: [1, 6]}",
        "training.optimizer.weight_decay": "{choice: [0.0, 0.05]}",
    }
