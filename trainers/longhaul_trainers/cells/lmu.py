"""LMU: a nonlinear cell around a linear memory of the past as polynomials."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from longhaul_trainers.cells.base import Cell, CellSettings, State
from longhaul_trainers.cells.memory_polynomial import (
    legendre_window,
    scaled_legendre,
    zero_order_hold,
)
from longhaul_trainers.initialisation import glorot_normal, uniform
from longhaul_trainers.parameter_groups import ParameterGroup
from longhaul_trainers.scans.inputs import hoisted_input_product
from longhaul_trainers.scans.stepwise import stepwise_scan
from longhaul_trainers.settings import setting
from longhaul_trainers.slots import stack_slots


@dataclass(frozen=True, kw_only=True)
class LMUSettings(CellSettings):
    """Settings of `LMU`; defaults as published for permuted pixels of MNIST."""

    name: ClassVar[str] = "lmu"
    memory_order: int = setting(
        256, ge=1, structural=True, help="number N of polynomials, the size of the memory"
    )
    measure: Literal["legt", "legs"] = setting(
        "legt",
        structural=True,
        help="legt: a window of the last theta steps, as in LMU; legs: all steps so far, rescaled",
    )
    theta: float = setting(
        784.0, gt=0, help="length of the window in steps; take the sequence's length (legt)"
    )


@final
class LMU(Cell):
    """The Legendre memory unit: a linear memory with fixed dynamics, written by one number a step.

    m holds the window's contents as coefficients of Legendre polynomials; its dynamics are derived,
    not trained, and stepped exactly (zero-order hold). W_x, W_h, W_m start Glorot normal, e_x and
    e_h LeCun uniform, e_m at 0; there is no bias. theta should be the longest dependency, for
    sequences that are read at their end the length T.

    With ``measure: legs`` the memory is HiPPO's scaled Legendre one, which needs no theta: at step
    t it covers all t steps. It is stepped by the bilinear rule and carries its count of steps.

    The carried state is ``(h, m)``, with ``legs`` ``(h, m, t)``.

    Notice: this is written from the published equations alone. The authors' program keras-lmu is
    under a proprietary licence that reserves commercial use, and names a patent application of
    Applied Brain Research on the method: clear this before you use the cell commercially.
    HiPPO-LegT is the same pair of matrices, whose authors' program is under an open licence.
    """

    settings_type = LMUSettings
    kind = "memory"
    equations = (
        "u = e_x x + e_h h + e_m m\n"
        "m' = A m + B u\n"
        "h' = tanh(W_x x + W_h h + W_m m')\n"
        "legt: A, B the exact step of theta dm/dt = A~ m + B~ u,\n"
        "      A~_ij = (2i + 1) (-1 if i < j, else (-1)^(i-j+1)), B~_i = (2i + 1) (-1)^i\n"
        "legs: (1 + A~ / 2t) m' = (1 - A~ / 2t) m + B~ u / t,\n"
        "      A~_ij = sqrt((2i + 1) (2j + 1)) if i > j, i + 1 if i = j, else 0, B~_i = sqrt(2i+1)"
    )
    reference = (
        'Voelker, Kajić, Eliasmith, "Legendre Memory Units: Continuous-Time Representation in '
        'Recurrent Neural Networks", NeurIPS 2019; Gu et al., "HiPPO: Recurrent Memory with '
        'Optimal Polynomial Projections", NeurIPS 2020, arXiv:2008.07669'
    )
    bibtex = """@inproceedings{voelker2019legendre,
  title = {Legendre Memory Units: Continuous-Time Representation in Recurrent Neural Networks},
  author = {Voelker, Aaron and Kaji{\\'c}, Ivana and Eliasmith, Chris},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2019},
}"""
    differs = (
        "measure: legs is HiPPO's matrix in this cell, not HiPPO's own cell, whose gate reads the "
        "memory. Glorot normal here has no cut-off tails."
    )
    count_formula = "(n + 1) * (m + n + memory_order)"
    search_ranges: ClassVar = {
        "training.optimizer.learning_rate": "{loguniform: [1e-4, 1e-2]}",
        "memory_order": "{choice: [32, 64, 128, 256]}",
        "measure": "{choice: [legt, legs]}",
        "theta": "{loguniform: [50, 5000]}",
    }
    memory_matrix: Tensor
    memory_input: Tensor

    def __init__(
        self,
        input_size: int,
        slots: Sequence[LMUSettings],
        generators: Sequence[torch.Generator],
    ) -> None:
        super().__init__(input_size, slots, generators)
        size, order = self.hidden_size, slots[0].memory_order
        self.order, self.scaled = order, slots[0].measure == "legs"

        def draw_encoder(_: LMUSettings, generator: torch.Generator) -> Tensor:
            into, back = math.sqrt(3 / input_size), math.sqrt(3 / size)
            x = uniform(-into, into, 1, input_size, generator=generator)
            return torch.cat([x, uniform(-back, back, 1, size, generator=generator)], 1)

        def draw_kernel(_: LMUSettings, generator: torch.Generator) -> Tensor:
            sizes = (input_size, size, order)
            return torch.cat([glorot_normal(size, one, generator) for one in sizes], 1)

        # Columns in the order x, h, m.
        encoder = stack_slots(slots, generators, draw_encoder).detach()
        nothing = encoder.new_zeros(len(slots), 1, order)
        self.encoder = torch.nn.Parameter(torch.cat([encoder, nothing], -1))
        self.kernel = stack_slots(slots, generators, draw_kernel)
        memories = [_memory(slot.measure, slot.theta, order) for slot in slots]
        matrices, vectors = zip(*memories, strict=True)
        self.register_buffer("memory_matrix", torch.stack(matrices), persistent=False)
        self.register_buffer("memory_input", torch.stack(vectors), persistent=False)

    @classmethod
    def parameter_count(cls, input_size: int, settings: CellSettings) -> int:
        if not isinstance(settings, LMUSettings):
            raise TypeError(f"expected settings of an LMU, found {settings!r}")
        size = settings.hidden_size
        return (size + 1) * (input_size + size + settings.memory_order)

    def initial_state(self, inputs: Tensor) -> State:
        sizes = (self.hidden_size, self.order, 1)
        return self.zero_state(inputs, *sizes[: 2 + self.scaled])

    def forward(self, inputs: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        state = self.initial_state(inputs) if state is None else state
        weights = torch.cat([self.encoder, self.kernel], 1)
        from_inputs, from_state = weights.split([self.input_size, self.hidden_size + self.order], 2)
        products = hoisted_input_product(inputs, from_inputs)
        step = self._scaled_step if self.scaled else self._window_step
        parameters = (from_state, self.memory_matrix, self.memory_input.unsqueeze(1))
        return stepwise_scan(step, parameters, products, state)

    def _window_step(self, parameters: Sequence[Tensor], products: Tensor, state: State) -> State:
        weights, A, B = parameters
        hidden, memory = state
        written = _written(weights, products, hidden, memory)
        memory = memory @ A.mT + written * B
        return self._activated(weights, products, hidden, memory), memory

    def _scaled_step(self, parameters: Sequence[Tensor], products: Tensor, state: State) -> State:
        weights, A, B = parameters
        hidden, memory, count = state
        count = count + 1
        written = _written(weights, products, hidden, memory)
        explicit = memory - memory @ A.mT / (2 * count) + written * B / count
        # all sequences of a slot have seen equally many steps
        implicit = torch.eye(self.order, dtype=A.dtype, device=A.device) + A / (2 * count[:, :1])
        memory = torch.linalg.solve_triangular(implicit, explicit.mT, upper=False).mT
        return self._activated(weights, products, hidden, memory), memory, count

    def _activated(
        self, weights: Tensor, products: Tensor, hidden: Tensor, memory: Tensor
    ) -> Tensor:
        read = torch.cat([hidden, memory], -1) @ weights[:, 1:].mT
        return (products[..., 1:] + read).tanh()

    def parameter_groups(self) -> list[ParameterGroup]:
        parameters = (self.encoder, self.kernel)
        return [ParameterGroup("main", parameters, torch.ones(self.pack_size))]


def _written(weights: Tensor, products: Tensor, hidden: Tensor, memory: Tensor) -> Tensor:
    """u, the number that is written into the memory, shape (P, B, 1)."""
    return products[..., :1] + torch.cat([hidden, memory], -1) @ weights[:, :1].mT


@lru_cache(maxsize=64)
def _memory(measure: str, theta: float, order: int) -> tuple[Tensor, Tensor]:
    """A and B of one slot: with legt of one step, with legs of the equation itself."""
    if measure == "legs":
        A, B = scaled_legendre(order)
    else:
        A, B = zero_order_hold(*legendre_window(order), 1 / theta)
    return A.float(), B.float()
