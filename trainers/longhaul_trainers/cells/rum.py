"""RUM: the rotational unit of memory, whose recurrent matrix depends on the input."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from longhaul_trainers.cells.base import Cell, CellSettings, State
from longhaul_trainers.parameter_groups import ParameterGroup
from longhaul_trainers.scans.inputs import hoisted_input_product
from longhaul_trainers.scans.stepwise import stepwise_scan
from longhaul_trainers.settings import setting
from longhaul_trainers.slots import stack_slots

# The least squared length by which a vector is divided, as in the authors' program.
_LEAST_SQUARE = 1e-12


@dataclass(frozen=True, kw_only=True)
class RUMSettings(CellSettings):
    """Settings of `RUM`."""

    name: ClassVar[str] = "rum"
    associative: bool = setting(
        False, structural=True, help="lambda = 1: rotations accumulate in a matrix, n^2 numbers"
    )
    update_gate: bool = setting(
        True, structural=True, help="whether the old state is kept in part; without: h' = c"
    )
    eta: float | None = setting(
        None, gt=0, structural=True, help="length to which each state is scaled; null: as it comes"
    )


@final
class RUM(Cell):
    """The rotational unit of memory: its state turns by what the input and the state ask for.

    R(t, r) is the rotation in the plane of t and r that takes t's direction to r's; all that is
    orthogonal to both stays. With ``associative`` the rotations of all steps multiply, and the
    state carries their product besides h: ``(h, R)``, R the identity at first. h0 = 0.

    Where V x = 0 there is no plane, and R takes away the part along r instead of turning, in the
    authors' program as here: an input should not be zero.

    V starts orthogonal, [V_r, W_r] and [V_u, W_u] with orthonormal rows, b_r and b_u at 1.
    Published with RMSprop (0.9) at 1e-3: 50 units for recall, 100 for copying.
    """

    settings_type = RUMSettings
    kind = "gated"
    equations = (
        "t = V x\n"
        "r = W_r h + V_r x + b_r\n"
        "u = sigmoid(W_u h + V_u x + b_u)\n"
        "c = max(R(t, r) h + t, 0), R the rotation from t to r\n"
        "h' = u * h + (1 - u) * c, times eta / |h'| where eta is given\n"
        "associative: R' = R R(t, r), c = max(R' h + t, 0)"
    )
    reference = (
        'Dangovski, Jing, Nakov, Tatalovic, Soljacic, "Rotational Unit of Memory: A Novel '
        'Representation Unit for RNNs with Scalable Applications", Transactions of the ACL 7, '
        "2019, arXiv:1710.09537"
    )
    bibtex = """@article{dangovski2019rotational,
  title = {Rotational Unit of Memory: A Novel Representation Unit for {RNNs} with Scalable \
Applications},
  author = {Dangovski, Rumen and Jing, Li and Nakov, Preslav and Tatalovi{\\'c}, Mi{\\'c}o and \
Solja{\\v{c}}i{\\'c}, Marin},
  journal = {Transactions of the Association for Computational Linguistics},
  volume = {7},
  year = {2019},
}"""
    differs = (
        "The sine of the angle is the length of r's part orthogonal to t over that of r instead of "
        "sqrt(1 - cos^2), whose rounding can be negative and whose derivative is infinite where t "
        "and r are parallel. The authors' initialiser makes each half of the rows of [V_r, W_r] "
        "orthonormal, but not both together; here all are. Zoneout and layer normalisation, which "
        "their language models use, are left out."
    )
    count_formula = "n * m + 2 * n * (n + m + 1)"
    search_ranges: ClassVar = {
        "training.optimizer.learning_rate": "{loguniform: [1e-4, 1e-2]}",
        "associative": "{choice: [false, true]}",
        "eta": "{choice: [null, 0.1, 1]}",
    }

    def __init__(
        self,
        input_size: int,
        slots: Sequence[RUMSettings],
        generators: Sequence[torch.Generator],
    ) -> None:
        super().__init__(input_size, slots, generators)
        size = self.hidden_size
        kernels = 1 + slots[0].update_gate
        self.associative, self.eta = slots[0].associative, slots[0].eta

        def draw_kernels(_: RUMSettings, generator: torch.Generator) -> Tensor:
            drawn = [_orthonormal(size, input_size + size, generator) for _ in range(kernels)]
            return torch.cat(drawn)

        def draw_embedding(_: RUMSettings, generator: torch.Generator) -> Tensor:
            return _orthonormal(size, input_size, generator)

        # One kernel for [x, h] together is orthonormal; x's part is needed before the scan.
        drawn = stack_slots(slots, generators, draw_kernels).detach()
        of_inputs, of_state = drawn.split([input_size, size], -1)
        embedding = stack_slots(slots, generators, draw_embedding).detach()
        self.input_weight = nn.Parameter(torch.cat([of_inputs, embedding], 1))
        self.recurrent_weight = nn.Parameter(of_state.contiguous())
        self.bias = nn.Parameter(torch.ones(len(slots), kernels * size))

    @classmethod
    def parameter_count(cls, input_size: int, settings: CellSettings) -> int:
        if not isinstance(settings, RUMSettings):
            raise TypeError(f"expected settings of a RUM, found {settings!r}")
        size = settings.hidden_size
        kernels = 1 + settings.update_gate
        return size * input_size + kernels * size * (size + input_size + 1)

    def initial_state(self, inputs: Tensor) -> State:
        size = self.hidden_size
        (h,) = self.zero_state(inputs, size)
        if not self.associative:
            return (h,)
        identity = torch.eye(size, dtype=inputs.dtype, device=inputs.device)
        return h, identity.expand(*h.shape[:2], size, size)

    def forward(self, inputs: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        state = self.initial_state(inputs) if state is None else state
        products = hoisted_input_product(inputs, self.input_weight)
        given = (self.recurrent_weight.mT.contiguous(), self.bias.unsqueeze(1))
        return stepwise_scan(partial(_step, self.eta), given, products, state)

    def parameter_groups(self) -> list[ParameterGroup]:
        parameters = (self.input_weight, self.recurrent_weight, self.bias)
        return [ParameterGroup("main", parameters, torch.ones(self.pack_size))]


def _step(eta: float | None, parameters: Sequence[Tensor], products: Tensor, state: State) -> State:
    recurrent, bias = parameters
    h = state[0]
    size = h.shape[-1]
    wide, t = products.split([bias.shape[-1], size], -1)
    wide = wide + torch.bmm(h, recurrent) + bias
    u, v, cos, sin = _plane(t, wide[..., :size])
    if len(state) == 1:
        memory: State = ()
        along_u, along_v = _along(u, h), _along(v, h)
        turned = h + ((cos - 1) * along_u - sin * along_v) * u
        turned = turned + (sin * along_u + (cos - 1) * along_v) * v
    else:
        R = state[1]
        by_u, by_v = R @ u.unsqueeze(-1), R @ v.unsqueeze(-1)
        R = R + by_u * ((cos - 1) * u - sin * v).unsqueeze(-2)
        R = R + by_v * (sin * u + (cos - 1) * v).unsqueeze(-2)
        memory = (R,)
        turned = (R @ h.unsqueeze(-1)).squeeze(-1)
    after = (turned + t).relu()
    if wide.shape[-1] > size:
        gate = wide[..., size:].sigmoid()
        after = after + gate * (h - after)
    if eta is not None:
        after = after * (eta / _length(after))
    return (after, *memory)


def _plane(t: Tensor, r: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Two orthonormal vectors that span the plane of t and r; cosine and sine of their angle."""
    u = t / _length(t)
    parallel = _along(u, r)
    orthogonal = r - parallel * u
    length, across = _length(r), _length(orthogonal)
    return u, orthogonal / across, parallel / length, across / length


def _along(one: Tensor, other: Tensor) -> Tensor:
    return (one * other).sum(-1, keepdim=True)


def _length(vector: Tensor) -> Tensor:
    return _along(vector, vector).clamp(min=_LEAST_SQUARE).sqrt()


def _orthonormal(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    """Orthonormal rows, or columns where there are fewer of them, from the Haar measure."""
    tall = torch.randn(max(rows, columns), min(rows, columns), generator=generator).double()
    Q, R = torch.linalg.qr(tall)
    drawn: Tensor = (Q * R.diagonal().sign()).float()
    return drawn if rows >= columns else drawn.mT
