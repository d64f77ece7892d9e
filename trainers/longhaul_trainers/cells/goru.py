"""GORU: gates around an orthogonal recurrent matrix."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from longhaul_trainers.catalogue import MATRICES
from longhaul_trainers.cells.base import Cell, CellSettings, State
from longhaul_trainers.errors import SettingError
from longhaul_trainers.initialisation import uniform
from longhaul_trainers.matrices.base import RecurrentMatrix, RecurrentSettings
from longhaul_trainers.matrices.eunn import EUNNSettings
from longhaul_trainers.nonlinearities import BiasInit, draw_modrelu_bias
from longhaul_trainers.parameter_groups import ParameterGroup
from longhaul_trainers.scans.gated import GatedKind, gated_scan
from longhaul_trainers.scans.inputs import hoisted_input_product
from longhaul_trainers.settings import Settings, component, setting
from longhaul_trainers.slots import slot_vector, stack_slots


@dataclass(frozen=True, kw_only=True)
class GORUSettings(CellSettings):
    """Settings of `GORU`; defaults as the authors' program has them."""

    name: ClassVar[str] = "goru"
    matrix: Settings = component(
        MATRICES,
        EUNNSettings(style="fft", complex_valued=False),
        help="U of the candidate, a real matrix; with its own learning_rate_ratio",
    )
    offset: float = setting(0.001, ge=0, help="constant added to modReLU's |z|")
    bias_init: BiasInit = setting(
        "constant", help="initial bias of modReLU: uniform on ±0.01, 0, or 0.01"
    )
    reset_bias: float = setting(2.0, help="initial bias of the reset gate; 2 keeps 88 % of U h")
    update_bias_init: Literal["uniform", "zero"] = setting(
        "uniform", help="initial bias of the update gate: uniform on ±sqrt(3 / n), or 0"
    )

    def check(self) -> None:
        super().check()
        matrix_type, own = matrix_of(self)
        try:
            matrix_type.check_size(self.hidden_size, own)
        except SettingError as error:
            at = "hidden_size" if error.path == "hidden_size" else f"matrix.{error.path}"
            raise SettingError(at, error.problem) from None
        if matrix_type.state_size(self.hidden_size, own) != self.hidden_size:
            raise SettingError("matrix", f"expected a real matrix, found a complex {own.name}")


def matrix_of(settings: GORUSettings) -> tuple[type[RecurrentMatrix], RecurrentSettings]:
    """The class of U and its settings."""
    if not isinstance(settings.matrix, RecurrentSettings):
        raise TypeError(f"expected settings of a recurrent matrix, found {settings.matrix!r}")
    return MATRICES.get(settings.matrix.name), settings.matrix


@final
class GORU(Cell):
    """The gated orthogonal recurrent unit: a GRU whose candidate is turned, not squashed; h0 = 0.

    U may be any real recurrent matrix, which makes a gated version of each; published with
    rotations in butterflies (``eunn``, ``style: fft``). Its parameters are the group ``recurrent``.

    V and the gates' matrices start uniform on ±0.01; b_r at 2, so that the reset gate is nearly
    open and the candidate nearly U h, b_c at 0.01, b_g uniform on ±sqrt(3 / n), and g so at about a
    half. Gates in the order r, g, then the candidate c, in all parameters.

    Published with RMSprop (0.9) at 1e-3, batches of 128, 128 units, 4 layers where it is not fft.
    """

    settings_type = GORUSettings
    kind = "gated"
    equations = (
        "r = sigmoid(W_r h + V_r x + b_r)\n"
        "g = sigmoid(W_g h + V_g x + b_g)\n"
        "c = modReLU(r * (U h) + V_c x), U orthogonal\n"
        "modReLU(z) = sign(z) max(|z| + offset + b_c, 0)\n"
        "h' = g * h + (1 - g) * c"
    )
    reference = (
        'Jing, Gulcehre, Peurifoy, Shen, Tegmark, Soljacic, Bengio, "Gated Orthogonal Recurrent '
        'Units: On Learning to Forget", Neural Computation 31(4), 2019, arXiv:1706.02761'
    )
    bibtex = """@article{jing2019gated,
  title = {Gated Orthogonal Recurrent Units: On Learning to Forget},
  author = {Jing, Li and Gulcehre, Caglar and Peurifoy, John and Shen, Yichen and Tegmark, Max and \
Solja{\\v{c}}i{\\'c}, Marin and Bengio, Yoshua},
  journal = {Neural Computation},
  volume = {31},
  number = {4},
  year = {2019},
}"""
    differs = (
        "U is multiplied out once per iteration and may be any real recurrent matrix. The authors' "
        "program gives b_g no start of its own, so that it takes its library's default, which is "
        "the one here; `update_bias_init: zero` is what the equations suggest."
    )
    count_formula = "n * log2(n) / 2 + 2 * n * n + 3 * n * m + 3 * n"
    search_ranges: ClassVar = {
        "training.optimizer.learning_rate": "{loguniform: [1e-4, 1e-2]}",
        "reset_bias": "{uniform: [0, 3]}",
        "matrix": "{choice: [{name: eunn, style: fft, complex_valued: false}, "
        "{name: eunn, layers: {choice: [2, 4, 8, 16]}, complex_valued: false}]}",
    }
    offset: Tensor

    def __init__(
        self,
        input_size: int,
        slots: Sequence[GORUSettings],
        generators: Sequence[torch.Generator],
    ) -> None:
        super().__init__(input_size, slots, generators)
        size = self.hidden_size
        matrix_type, _ = matrix_of(slots[0])
        own = [matrix_of(slot)[1] for slot in slots]
        self.recurrent = matrix_type(size, own, generators)

        def draw_gates(_: GORUSettings, generator: torch.Generator) -> Tensor:
            return uniform(-0.01, 0.01, 2 * size, size, generator=generator)

        def draw_inputs(_: GORUSettings, generator: torch.Generator) -> Tensor:
            return uniform(-0.01, 0.01, 3 * size, input_size, generator=generator)

        def draw_bias(slot: GORUSettings, generator: torch.Generator) -> Tensor:
            update = torch.zeros(size)
            if slot.update_bias_init == "uniform":
                bound = math.sqrt(3 / size)
                update = uniform(-bound, bound, size, generator=generator)
            candidate = draw_modrelu_bias(slot.bias_init, size, generator)
            return torch.cat([torch.full((size,), slot.reset_bias), update, candidate])

        self.gate_weight = stack_slots(slots, generators, draw_gates)
        self.input_weight = stack_slots(slots, generators, draw_inputs)
        self.bias = stack_slots(slots, generators, draw_bias)
        self.register_buffer("offset", slot_vector(slots, lambda slot: slot.offset)[:, None])

    @classmethod
    def parameter_count(cls, input_size: int, settings: CellSettings) -> int:
        if not isinstance(settings, GORUSettings):
            raise TypeError(f"expected settings of a GORU, found {settings!r}")
        size = settings.hidden_size
        matrix_type, own = matrix_of(settings)
        free = size * (2 * size + 3 * input_size + 3)
        return matrix_type.parameter_count(size, own) + free

    def initial_state(self, inputs: Tensor) -> State:
        return self.zero_state(inputs, self.hidden_size)

    def forward(self, inputs: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        size = self.hidden_size
        state = self.initial_state(inputs) if state is None else state
        gate_bias, threshold = self.bias.split([2 * size, size], -1)
        bias = torch.cat([gate_bias, torch.zeros_like(threshold)], -1)
        products = hoisted_input_product(inputs, self.input_weight, bias)
        recurrent = torch.cat([self.gate_weight, self.recurrent.matrix()], 1)
        units = (threshold + self.offset).unsqueeze(1)
        return gated_scan(_GORU, recurrent, units, products, state)

    def parameter_groups(self) -> list[ParameterGroup]:
        main = (self.gate_weight, self.input_weight, self.bias)
        ratio = torch.ones(self.pack_size)
        return [*self.recurrent.parameter_groups(), ParameterGroup("main", main, ratio)]

    def after_step(self) -> None:
        self.recurrent.after_step()

    def penalty(self) -> Tensor | None:
        return self.recurrent.penalty()

    def diagnostics(self) -> dict[str, Tensor]:
        return self.recurrent.diagnostics()


def _step(parameters: Sequence[Tensor], products: Tensor, state: State) -> State:
    transposed, threshold = parameters
    (h,) = state
    size = h.shape[-1]
    gate_products, candidate_products = products.split([2 * size, size], -1)
    turned = torch.bmm(h, transposed)
    gates = torch.sigmoid(turned[..., : 2 * size] + gate_products)
    r, g = gates.chunk(2, -1)
    z = r * turned[..., 2 * size :] + candidate_products
    c = z.sign() * (z.abs() + threshold).relu()
    return (c + g * (h - c),)


_GORU = GatedKind(code=1, products=3, added=2, step=_step)
