"""FastRNN and FastGRNN: small residual recurrences for small devices."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from longhaul_trainers.catalogue import NONLINEARITIES
from longhaul_trainers.cells.base import Cell, CellSettings, State
from longhaul_trainers.cells.factored import FactoredWeight
from longhaul_trainers.nonlinearities import Nonlinearity, TanhSettings
from longhaul_trainers.parameter_groups import ParameterGroup
from longhaul_trainers.precision import PRECISIONS, Precision
from longhaul_trainers.scans.gated import GatedKind, gated_scan
from longhaul_trainers.scans.inputs import hoisted_input_product
from longhaul_trainers.scans.leaky import leaky_scan
from longhaul_trainers.settings import Settings, component, setting
from longhaul_trainers.slots import slot_vector

DEVIATION = 0.1
"""Of the initial entries of all weights."""


@dataclass(frozen=True, kw_only=True)
class LowRankSettings(CellSettings):
    """What FastRNN and FastGRNN have."""

    input_rank: int | None = setting(
        None, ge=1, structural=True, help="rank of W as a product of two factors; null: W itself"
    )
    recurrent_rank: int | None = setting(
        None, ge=1, structural=True, help="rank of U as a product of two factors; null: U itself"
    )


class LowRankCell(Cell):
    """What FastRNN and FastGRNN share: W, U and how many numbers they have."""

    reference = (
        'Kusupati, Singh, Bhatia, Kumar, Jain, Varma, "FastGRNN: A Fast, Accurate, Stable and Tiny '
        'Kilobyte Sized Gated Recurrent Neural Network", NeurIPS 2018, arXiv:1901.02358'
    )
    bibtex = """@inproceedings{kusupati2018fastgrnn,
  title = {{FastGRNN}: A Fast, Accurate, Stable and Tiny Kilobyte Sized Gated Recurrent Neural \
Network},
  author = {Kusupati, Aditya and Singh, Manish and Bhatia, Kush and Kumar, Ashish and Jain, \
Prateek and Varma, Manik},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2018},
}"""
    differs = (
        "Weights are dense: the paper's sparsity, by hard thresholding during training, and its "
        "quantisation to bytes serve the size of a program on a device and are left out."
    )
    vectors: ClassVar[int]
    """Numbers of biases for each unit; two scalars come on top."""

    def __init__(
        self,
        input_size: int,
        slots: Sequence[LowRankSettings],
        generators: Sequence[torch.Generator],
    ) -> None:
        super().__init__(input_size, slots, generators)
        size, ranks = self.hidden_size, (slots[0].input_rank, slots[0].recurrent_rank)
        self.input_weight = FactoredWeight(size, input_size, ranks[0], DEVIATION, generators)
        self.recurrent_weight = FactoredWeight(size, size, ranks[1], DEVIATION, generators)

    @classmethod
    def parameter_count(cls, input_size: int, settings: CellSettings) -> int:
        if not isinstance(settings, LowRankSettings):
            raise TypeError(f"expected settings with ranks, found {settings!r}")
        size, count = settings.hidden_size, FactoredWeight.parameter_count
        of_weights = count(size, input_size, settings.input_rank)
        of_weights += count(size, size, settings.recurrent_rank)
        return of_weights + cls.vectors * size + 2

    def parameter_groups(self) -> list[ParameterGroup]:
        return [ParameterGroup("main", tuple(self.parameters()), torch.ones(self.pack_size))]


@dataclass(frozen=True, kw_only=True)
class FastRNNSettings(LowRankSettings):
    """Settings of `FastRNN`; defaults as in the authors' program."""

    name: ClassVar[str] = "fastrnn"
    nonlinearity: Settings = component(NONLINEARITIES, TanhSettings(), help="phi")
    alpha_init: float = setting(-3.0, help="initial alpha; its sigmoid weighs the new part")
    beta_init: float = setting(3.0, help="initial beta; its sigmoid weighs the old state")


@final
class FastRNN(LowRankCell):
    """The simple recurrent network with a trained leak and gain, one of each for all units.

    W and U, or their factors, start normal with deviation 0.1, b at 1; h0 = 0. For memories over T
    steps sigmoid(alpha) has to come near 1 / T and sigmoid(beta) near 1 - sigmoid(alpha).
    """

    settings_type = FastRNNSettings
    kind = "residual"
    equations = "h' = sigmoid(beta) * h + sigmoid(alpha) * phi(U h + W x + b)"
    count_formula = "n * (m + n + 1) + 2"
    search_ranges: ClassVar = {
        "training.optimizer.learning_rate": "{loguniform: [1e-4, 1e-2]}",
        "alpha_init": "{uniform: [-6, 0]}",
        "beta_init": "{uniform: [0, 6]}",
    }
    vectors = 1

    def __init__(
        self,
        input_size: int,
        slots: Sequence[FastRNNSettings],
        generators: Sequence[torch.Generator],
    ) -> None:
        super().__init__(input_size, slots, generators)
        self.bias = nn.Parameter(torch.ones(len(slots), self.hidden_size))
        self.alpha = nn.Parameter(slot_vector(slots, lambda slot: slot.alpha_init)[:, None])
        self.beta = nn.Parameter(slot_vector(slots, lambda slot: slot.beta_init)[:, None])
        phi: type[Nonlinearity] = NONLINEARITIES.get(slots[0].nonlinearity.name)
        self.nonlinearity = phi(self.hidden_size, [slot.nonlinearity for slot in slots], generators)

    @classmethod
    def parameter_count(cls, input_size: int, settings: CellSettings) -> int:
        if not isinstance(settings, FastRNNSettings):
            raise TypeError(f"expected settings of a FastRNN, found {settings!r}")
        phi: type[Nonlinearity] = NONLINEARITIES.get(settings.nonlinearity.name)
        of_phi = phi.parameter_count(settings.hidden_size)
        return super().parameter_count(input_size, settings) + of_phi

    @classmethod
    def precisions(cls, settings: CellSettings) -> tuple[Precision, ...]:
        return PRECISIONS

    def initial_state(self, inputs: Tensor) -> State:
        return self.zero_state(inputs, self.hidden_size)

    def forward(self, inputs: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        (initial,) = self.initial_state(inputs) if state is None else state
        hidden = leaky_scan(
            self.recurrent_weight(),
            hoisted_input_product(inputs, self.input_weight(), self.bias),
            initial,
            self.nonlinearity,
            gain=_sigmoids(self.alpha),
            keep=_sigmoids(self.beta),
            precision=self.precision,
        )
        return hidden, (hidden[-1],)


@dataclass(frozen=True, kw_only=True)
class FastGRNNSettings(LowRankSettings):
    """Settings of `FastGRNN`; defaults as in the authors' program."""

    name: ClassVar[str] = "fastgrnn"
    zeta_init: float = setting(1.0, help="initial zeta; its sigmoid weighs the new part")
    nu_init: float = setting(
        -4.0, help="initial nu; its sigmoid is what gets in through a closed gate"
    )


@final
class FastGRNN(LowRankCell):
    """FastRNN with a gate that reuses the products of the candidate.

    W and U, or their factors, start normal with deviation 0.1, both biases at 1; h0 = 0.
    """

    settings_type = FastGRNNSettings
    kind = "gated"
    equations = (
        "z = sigmoid(U h + W x + b_z)\n"
        "c = tanh(U h + W x + b_h)\n"
        "h' = z * h + (sigmoid(zeta) * (1 - z) + sigmoid(nu)) * c"
    )
    count_formula = "n * (m + n + 2) + 2"
    search_ranges: ClassVar = {
        "training.optimizer.learning_rate": "{loguniform: [1e-4, 1e-2]}",
        "zeta_init": "{uniform: [0, 3]}",
        "nu_init": "{uniform: [-6, 0]}",
    }
    vectors = 2

    def __init__(
        self,
        input_size: int,
        slots: Sequence[FastGRNNSettings],
        generators: Sequence[torch.Generator],
    ) -> None:
        super().__init__(input_size, slots, generators)
        self.gate_bias = nn.Parameter(torch.ones(len(slots), self.hidden_size))
        self.candidate_bias = nn.Parameter(torch.ones(len(slots), self.hidden_size))
        self.zeta = nn.Parameter(slot_vector(slots, lambda slot: slot.zeta_init)[:, None])
        self.nu = nn.Parameter(slot_vector(slots, lambda slot: slot.nu_init)[:, None])

    def initial_state(self, inputs: Tensor) -> State:
        return self.zero_state(inputs, self.hidden_size)

    def forward(self, inputs: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        state = self.initial_state(inputs) if state is None else state
        products = hoisted_input_product(inputs, self.input_weight())
        scalars = [self._of_all_units(one) for one in (self.zeta, self.nu)]
        units = torch.stack([self.gate_bias, self.candidate_bias, *scalars], 1)
        return gated_scan(_FASTGRNN, self.recurrent_weight(), units, products, state)

    def _of_all_units(self, numbers: Tensor) -> Tensor:
        """The sigmoids of numbers (P, 1) for each unit, (P, H), one slot after the other."""
        return torch.stack([one.expand(self.hidden_size) for one in _sigmoids(numbers)])


def _sigmoids(numbers: Tensor) -> Tensor:
    """The sigmoids (P,) of numbers (P, 1), slot by slot, as a vector's tail rounds otherwise."""
    return torch.cat([one.sigmoid() for one in numbers])


def _fastgrnn_step(parameters: Sequence[Tensor], products: Tensor, state: State) -> State:
    transposed, units = parameters
    gate_bias, candidate_bias, zeta, nu = units.unsqueeze(2).unbind(1)
    (h,) = state
    shared = torch.baddbmm(products, h, transposed)
    z = torch.sigmoid(shared + gate_bias)
    candidate = torch.tanh(shared + candidate_bias)
    return (z * h + (zeta * (1 - z) + nu) * candidate,)


_FASTGRNN = GatedKind(code=0, products=1, added=1, step=_fastgrnn_step)
