"""Lipschitz RNN: a stable linear part plus a Lipschitz nonlinearity, integrated step by step."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from longhaul_trainers.cells.base import Cell, CellSettings, State
from longhaul_trainers.initialisation import glorot_normal, uniform
from longhaul_trainers.matrices.symmetric_skew import SymmetricSkewMatrix, SymmetricSkewSettings
from longhaul_trainers.nonlinearities import Tanh, TanhSettings
from longhaul_trainers.parameter_groups import ParameterGroup
from longhaul_trainers.precision import PRECISIONS, Precision
from longhaul_trainers.scans.inputs import hoisted_input_product
from longhaul_trainers.scans.leaky import leaky_scan
from longhaul_trainers.scans.stepwise import Step, stepwise_scan
from longhaul_trainers.settings import setting
from longhaul_trainers.slots import slot_vector, stack_slots


@dataclass(frozen=True, kw_only=True)
class LipschitzSettings(SymmetricSkewSettings, CellSettings):
    """Settings of `LipschitzRNN`; defaults as published for sequential MNIST."""

    name: ClassVar[str] = "lipschitz"
    epsilon: float = setting(0.03, gt=0, help="step size; 1 / epsilon steps are one unit of time")
    alpha: float = setting(1.0, ge=0, help="weight of the linear part A h")
    linear_beta: float | None = setting(
        None, ge=0, le=1, help="beta of A where it is not that of W; null: the same"
    )
    linear_gamma: float | None = setting(
        None, ge=0, help="gamma of A where it is not that of W; null: the same"
    )
    solver: Literal["euler", "midpoint"] = setting(
        "euler", structural=True, help="one evaluation of the slope a step, or two of second order"
    )
    gated: bool = setting(
        False, structural=True, help="whether a gate of its own scales each unit's slope"
    )

    @property
    def stepwise(self) -> bool:
        """Whether no scan of its own is written for it."""
        return self.gated or self.solver == "midpoint"


@final
class LipschitzRNN(Cell):
    """A differential equation whose linear part decides its stability.

    A and W are `symmetric_skew` matrices, A's M written M_A; they may differ in beta and gamma.
    V starts Glorot normal, b at 0, M and M_A normal with deviation init_std / n; V_z and b_z of the
    gated cell uniform on ±1 / sqrt(m); h0 = 0. The gate shares the product W h.

    Published for images: epsilon 0.03, beta 0.75, gamma 0.001, init_std 0.1, Adam at 0.003 for 90
    epochs and a tenth of that for 10 more; an older recipe has init_std 32, epsilon 0.01, beta 0.65
    to 0.8 and SGD at 0.1. The equation is globally stable where all eigenvalues of A's symmetric
    part lie below minus the largest singular value of W (theorem 1); training does not enforce it.
    """

    settings_type = LipschitzSettings
    kind = "residual"
    equations = (
        "h' = h + epsilon * f(h), f(h) = alpha * A h + tanh(W h + V x + b)\n"
        "midpoint: h' = h + epsilon * f(h + epsilon / 2 * f(h))\n"
        "gated: f(h) = sigmoid(W h + V_z x + b_z) * (alpha * A h + tanh(W h + V x + b))\n"
        "A, W = beta (M - M^T) + (1 - beta) (M + M^T) - gamma I, each with an M of its own"
    )
    reference = SymmetricSkewMatrix.reference
    bibtex = """@inproceedings{erichson2021lipschitz,
  title = {{Lipschitz} Recurrent Neural Networks},
  author = {Erichson, N. Benjamin and Azencot, Omri and Queiruga, Alejandro and Hodgkinson, Liam \
and Mahoney, Michael W.},
  booktitle = {International Conference on Learning Representations},
  year = {2021},
}"""
    differs = (
        "The authors' program computes h A and h W with rows h, so its matrices are the transposes "
        "of the paper's, which are used here; M is drawn from a symmetric law, so nothing else "
        "follows. It has one beta and one gamma for both matrices, which is the default here, and "
        "the gate with Euler steps only."
    )
    count_formula = "2 * n**2 + n * (m + 1)"
    search_ranges: ClassVar = {
        "training.optimizer.learning_rate": "{loguniform: [1e-4, 1e-2]}",
        "epsilon": "{loguniform: [0.003, 0.3]}",
        "beta": "{uniform: [0.5, 1]}",
        "gamma": "{loguniform: [1e-4, 0.1]}",
        "init_std": "{loguniform: [0.1, 32]}",
        "solver": "{choice: [euler, midpoint]}",
        "gated": "{choice: [false, true]}",
    }
    epsilon: Tensor
    alpha: Tensor

    def __init__(
        self,
        input_size: int,
        slots: Sequence[LipschitzSettings],
        generators: Sequence[torch.Generator],
    ) -> None:
        super().__init__(input_size, slots, generators)
        size = self.hidden_size
        self.gated, self.solver = slots[0].gated, slots[0].solver
        self.stepwise = slots[0].stepwise
        self.recurrent = SymmetricSkewMatrix(size, slots, generators)
        self.linear = SymmetricSkewMatrix(size, [_linear(slot) for slot in slots], generators)
        bound = input_size**-0.5

        def draw_weight(_: LipschitzSettings, generator: torch.Generator) -> Tensor:
            V = glorot_normal(size, input_size, generator)
            if not self.gated:
                return V
            return torch.cat([V, uniform(-bound, bound, size, input_size, generator=generator)])

        def draw_bias(_: LipschitzSettings, generator: torch.Generator) -> Tensor:
            b = torch.zeros(size)
            if not self.gated:
                return b
            return torch.cat([b, uniform(-bound, bound, size, generator=generator)])

        self.input_weight = stack_slots(slots, generators, draw_weight)
        self.bias = stack_slots(slots, generators, draw_bias)
        self.nonlinearity = Tanh(size, [TanhSettings()] * len(slots), generators)
        self.register_buffer("epsilon", slot_vector(slots, lambda slot: slot.epsilon))
        self.register_buffer("alpha", slot_vector(slots, lambda slot: slot.alpha))

    @classmethod
    def parameter_count(cls, input_size: int, settings: CellSettings) -> int:
        if not isinstance(settings, LipschitzSettings):
            raise TypeError(f"expected settings of a LipschitzRNN, found {settings!r}")
        size = settings.hidden_size
        inputs = size * (input_size + 1) * (2 if settings.gated else 1)
        return 2 * SymmetricSkewMatrix.parameter_count(size, settings) + inputs

    @classmethod
    def precisions(cls, settings: CellSettings) -> tuple[Precision, ...]:
        if isinstance(settings, LipschitzSettings) and settings.stepwise:
            return super().precisions(settings)
        return PRECISIONS

    def initial_state(self, inputs: Tensor) -> State:
        return self.zero_state(inputs, self.hidden_size)

    def forward(self, inputs: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        state = self.initial_state(inputs) if state is None else state
        products = hoisted_input_product(inputs, self.input_weight, self.bias)
        W, A = self.recurrent.matrix(), self.alpha[:, None, None] * self.linear.matrix()
        epsilon = self.epsilon[:, None, None]
        if self.stepwise:
            return stepwise_scan(_STEPS[self.solver], (W.mT, A.mT, epsilon), products, state)
        hidden = leaky_scan(
            W,
            products,
            state[0],
            self.nonlinearity,
            gain=self.epsilon,
            linear=epsilon * A,
            precision=self.precision,
        )
        return hidden, (hidden[-1],)

    def parameter_groups(self) -> list[ParameterGroup]:
        """W's group is ``recurrent``, that of A ``linear``; the two share all their settings."""
        linear = [replace(group, name="linear") for group in self.linear.parameter_groups()]
        main = (self.input_weight, self.bias)
        return [
            *self.recurrent.parameter_groups(),
            *linear,
            ParameterGroup("main", main, torch.ones(self.pack_size)),
        ]

    def diagnostics(self) -> dict[str, Tensor]:
        """Those of W, and with ``linear_`` before their names those of A."""
        of_linear = self.linear.diagnostics().items()
        return self.recurrent.diagnostics() | {f"linear_{name}": one for name, one in of_linear}


def _linear(slot: LipschitzSettings) -> SymmetricSkewSettings:
    return SymmetricSkewSettings(
        learning_rate_ratio=slot.learning_rate_ratio,
        recurrent_optimizer=slot.recurrent_optimizer,
        beta=slot.beta if slot.linear_beta is None else slot.linear_beta,
        gamma=slot.gamma if slot.linear_gamma is None else slot.linear_gamma,
        init_std=slot.init_std,
    )


def _slope(transposed: Tensor, linear: Tensor, products: Tensor, h: Tensor) -> Tensor:
    """f(h), gated where there are products for a gate."""
    product = torch.bmm(h, transposed)
    candidate, *gates = products.split(h.shape[-1], -1)
    slope = torch.baddbmm(torch.tanh(product + candidate), h, linear)
    for gate in gates:
        slope = slope * torch.sigmoid(product + gate)
    return slope


def _euler_step(parameters: Sequence[Tensor], products: Tensor, state: State) -> State:
    transposed, linear, epsilon = parameters
    (h,) = state
    return (h + epsilon * _slope(transposed, linear, products, h),)


def _midpoint_step(parameters: Sequence[Tensor], products: Tensor, state: State) -> State:
    transposed, linear, epsilon = parameters
    (h,) = state
    middle = h + epsilon / 2 * _slope(transposed, linear, products, h)
    return (h + epsilon * _slope(transposed, linear, products, middle),)


_STEPS: dict[str, Step] = {"euler": _euler_step, "midpoint": _midpoint_step}
