"""sLSTM: the LSTM with exponential gates, a normaliser and heads."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, final

import torch
from torch import Tensor
from torch.nn import functional

from longhaul_trainers.cells.base import State
from longhaul_trainers.cells.stack import Layer, StackedCell, StackSettings
from longhaul_trainers.errors import SettingError
from longhaul_trainers.initialisation import uniform
from longhaul_trainers.parameter_groups import ParameterGroup
from longhaul_trainers.scans.inputs import hoisted_input_product
from longhaul_trainers.scans.stepwise import stepwise_scan
from longhaul_trainers.settings import setting
from longhaul_trainers.slots import slot_vector, stack_slots


@dataclass(frozen=True, kw_only=True)
class SLSTMSettings(StackSettings):
    """Settings of `SLSTM`."""

    name: ClassVar[str] = "slstm"
    layers: int = setting(1, ge=1, structural=True, help="number of recurrent layers")
    mode: Literal["bare", "block"] = setting(
        "bare",
        structural=True,
        help="bare: layer upon layer; block: an encoder, then norm, layer, gate and skip each time",
    )
    heads: int = setting(
        4, ge=1, structural=True, help="blocks of R's diagonal; must divide hidden_size"
    )
    forget_gate: Literal["sigmoid", "exponential"] = setting(
        "sigmoid", structural=True, help="f in terms of its preactivation"
    )
    recurrent_init: Literal["zero", "uniform"] = setting(
        "zero", help="initial R: 0, or uniform on ±1 / sqrt(hidden_size)"
    )
    forget_init: Literal["power", "linear", "uniform"] = setting(
        "power",
        help="initial forget biases: 5 to -7 within a head, 3 to 6, or ±1 / sqrt(hidden_size)",
    )
    recurrent_gradient: bool = setting(
        True, structural=True, help="whether gradients flow back through R h"
    )
    recurrent_clip: float | None = setting(
        None, gt=0, help="largest number in a gradient that flows back through R h"
    )

    def check(self) -> None:
        if self.hidden_size % self.heads:
            problem = f"expected a divisor of hidden_size {self.hidden_size}, found {self.heads}"
            raise SettingError("heads", problem)


class SLSTMLayer(Layer[SLSTMSettings]):
    """One layer of `SLSTM`; gates in the order i, f, z, o. Its state is (h, c, n, m)."""

    state_count = 4
    clip: Tensor

    def __init__(
        self,
        input_size: int,
        slots: Sequence[SLSTMSettings],
        generators: Sequence[torch.Generator],
        depth: int,
    ) -> None:
        super().__init__(input_size, slots, generators, depth)
        size, self.heads = self.hidden_size, slots[0].heads
        self.exponential = slots[0].forget_gate == "exponential"
        self.recurrent_gradient = slots[0].recurrent_gradient
        self.clips = any(slot.recurrent_clip for slot in slots)
        self.register_buffer("clip", slot_vector(slots, lambda one: one.recurrent_clip or math.inf))
        width, deviation = size // self.heads, math.sqrt(2 / (5 * input_size))

        def draw_recurrent(slot: SLSTMSettings, generator: torch.Generator) -> Tensor:
            if slot.recurrent_init == "zero":
                return torch.zeros(self.heads, 4 * width, width)
            bound = 1 / math.sqrt(size)
            return uniform(-bound, bound, self.heads, 4 * width, width, generator=generator)

        def draw_bias(slot: SLSTMSettings, generator: torch.Generator) -> Tensor:
            bias = torch.zeros(4, self.heads, width)
            bias[1] = _forget_bias(slot, width, depth, generator)
            return bias.flatten()

        self.input_weight = stack_slots(
            slots,
            generators,
            lambda _, drawn: deviation * torch.randn(4 * size, input_size, generator=drawn),
        )
        self.recurrent_weight = stack_slots(slots, generators, draw_recurrent)
        self.bias = stack_slots(slots, generators, draw_bias)

    @classmethod
    def parameter_count(cls, input_size: int, settings: SLSTMSettings) -> int:
        size = settings.hidden_size
        return 4 * size * (input_size + size // settings.heads + 1)

    def initial_state(self, inputs: Tensor) -> State:
        h, c, n, m = self.zero_state(inputs, *[self.hidden_size] * 4)
        # Nothing has been seen: exp(m) is 0, so that the first step has the weight 1.
        return h, c, n, m.fill_(-math.inf)

    def forward(self, inputs: Tensor, state: State | None) -> tuple[Tensor, State]:
        state = self.initial_state(inputs) if state is None else state
        products = hoisted_input_product(inputs, self.input_weight, self.bias)
        return stepwise_scan(self._step, (self.recurrent_weight, self.clip), products, state)

    def _step(self, parameters: Sequence[Tensor], products: Tensor, state: State) -> State:
        weight, clip = parameters
        hidden, cell, normaliser, stabiliser = state
        read = hidden if self.recurrent_gradient else hidden.detach()
        if self.clips:
            read = _clip_gradient(read, clip[:, None, None])
        heads = read.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        product = (heads @ weight.mT).unflatten(-1, (4, -1))
        gates = products + product.permute(0, 2, 3, 1, 4).flatten(2)
        i, f, z, o = gates.chunk(4, -1)
        log_forget = f if self.exponential else functional.logsigmoid(f)
        # h does not depend on m, by which c and n are both divided: no gradient has to flow there.
        largest = torch.maximum(log_forget + stabiliser, i).detach()
        write, keep = (i - largest).exp(), (log_forget + stabiliser - largest).exp()
        cell = keep * cell + write * z.tanh()
        normaliser = keep * normaliser + write
        return o.sigmoid() * cell / normaliser, cell, normaliser, largest

    def parameter_groups(self) -> list[ParameterGroup]:
        return [ParameterGroup("main", tuple(self.parameters()), torch.ones(self.pack_size))]


def _forget_bias(slot: SLSTMSettings, width: int, depth: int, generator: torch.Generator) -> Tensor:
    if slot.forget_init == "linear":
        return torch.linspace(3, 6, width)
    if slot.forget_init == "uniform":
        bound = 1 / math.sqrt(slot.hidden_size)
        return uniform(-bound, bound, slot.heads, width, generator=generator)
    place = torch.arange(width) / max(width - 1, 1)
    return 5 - 12 * place ** (0.3 + 1.3 * depth / max(slot.layers - 1, 1))


def _clip_gradient(values: Tensor, bound: Tensor) -> Tensor:
    clipped: Tensor = _ClippedGradient.apply(values, bound)  # type: ignore[no-untyped-call]
    return clipped


class _ClippedGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, bound: Tensor) -> Tensor:
        ctx.save_for_backward(bound)
        return values.view_as(values)

    @staticmethod
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, gradient: Tensor
    ) -> tuple[Tensor, None]:
        (bound,) = ctx.saved_tensors
        return torch.minimum(torch.maximum(gradient, -bound), bound), None


@final
class SLSTM(StackedCell[SLSTMSettings]):
    """The LSTM of xLSTM with scalar memories: exponential gates, a normaliser, heads.

    A unit can so revise what it has stored: a large i outweighs all that came before. m, the
    largest logarithm so far, keeps c and n within range and cancels in c / n. R is block-diagonal,
    a block for each head. W starts normal of variance 2 / (5 m), R at 0, the biases at 0 but for
    those of f, which within a head fall from 5 to -7 as the power 0.3 (first layer) to 1.6 (last
    layer) of the unit's place.
    """

    settings_type = SLSTMSettings
    kind = "gated"
    layer_type = SLSTMLayer
    equations = (
        "i~, f~, z~, o~ = W x + R h + b\n"
        "log f = log sigmoid(f~), or f~\n"
        "m' = max(log f + m, i~)\n"
        "c' = exp(log f + m - m') * c + exp(i~ - m') * tanh(z~)\n"
        "n' = exp(log f + m - m') * n + exp(i~ - m')\n"
        "h' = sigmoid(o~) * c' / n'"
    )
    reference = (
        'Beck et al., "xLSTM: Extended Long Short-Term Memory", NeurIPS 2024, arXiv:2405.04517'
    )
    bibtex = """@inproceedings{beck2024xlstm,
  title = {xLSTM: Extended Long Short-Term Memory},
  author = {Beck, Maximilian and P{\\"o}ppel, Korbinian and Spanring, Markus and Auer, Andreas and \
Prudnikova, Oleksandra and Kopp, Michael and Klambauer, G{\\"u}nter and Brandstetter, Johannes and \
Hochreiter, Sepp},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2024},
}"""
    differs = (
        "W is dense; the authors' program has blocks there too, after a causal convolution. Blocks "
        "are those of linear recurrences, norm, layer, GLU and skip, without the convolution, the "
        "norm of the heads and the feed-forward part. recurrent_clip clips gradients only; in the "
        "authors' program for GPUs the same number becomes a bound on the outputs as well."
    )
    count_formula = "4 * n * (m + n // heads + 1)"
    search_ranges: ClassVar = {
        "training.optimizer.learning_rate": "{loguniform: [1e-4, 1e-2]}",
        "heads": "{choice: [1, 2, 4, 8]}",
        "forget_init": "{choice: [power, linear]}",
        "recurrent_init": "{choice: [zero, uniform]}",
    }
