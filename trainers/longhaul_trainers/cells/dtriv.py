"""dtriv: an orthogonal recurrent matrix, exponential about a base that moves along."""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from longhaul_trainers.catalogue import NONLINEARITIES
from longhaul_trainers.cells.elman import ElmanCell, ElmanSettings
from longhaul_trainers.initialisation import kaiming_normal
from longhaul_trainers.matrices.dynamic_trivialization import (
    DynamicTrivializationMatrix,
    DynamicTrivializationSettings,
)
from longhaul_trainers.nonlinearities import ModReLUSettings
from longhaul_trainers.settings import Settings, component


@dataclass(frozen=True, kw_only=True)
class DtrivSettings(DynamicTrivializationSettings, ElmanSettings):
    """Settings of `Dtriv`; defaults as published for copying."""

    name: ClassVar[str] = "dtriv"
    nonlinearity: Settings = component(NONLINEARITIES, ModReLUSettings(), help="phi")


@final
class Dtriv(ElmanCell[DtrivSettings]):
    """The simple recurrent network whose W is an exponential about a base that moves along.

    As expRNN, but W = B exp(A), and every K steps B becomes W and A becomes 0: the optimiser works
    near A = 0, where the exponential distorts nothing. ``rebase_every: 1`` is Riemannian descent,
    null is a fixed base (the first W, where expRNN has the identity).

    V starts Kaiming normal for a rectifier, modReLU's bias uniform on ±0.01, h0 = 0.
    Published with RMSprop, a tenth of the learning rate for A, K 1, 100 or null: copying 190 units,
    2e-4, henaff, M 30; images 170 units, 7e-4 (permuted 1e-3), 360 units, 5e-4, 512 units, 3e-4,
    ``skew_init: cayley``, M 100; speech 224 units, Adam 1e-3 but RMSprop 1e-4 for A, henaff.

    The optimiser's running averages are kept over a change of base, as in the authors' program.
    """

    settings_type = DtrivSettings
    equations = (
        "h' = phi(W h + V x)\n"
        "W = B exp(A), A = X - X^T, X strictly upper triangular\n"
        "every K steps: B <- W, A <- 0; every M of these: B <- its nearest orthogonal matrix"
    )
    reference = DynamicTrivializationMatrix.reference
    bibtex = """@inproceedings{lezcano2019trivializations,
  title = {Trivializations for Gradient-Based Optimization on Manifolds},
  author = {Lezcano-Casado, Mario},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2019},
}"""
    differs = (
        "The base changes after the optimiser's step. The authors' program changes it between the "
        "forward and the backward pass, so that at every K-th step the gradient is still that at "
        "the old A and moves the new A = 0; with K = 1 that is every step, and the update is not "
        "the Riemannian gradient. It multiplies rows h by W; here columns, so its W is our W "
        "transposed. The decomposition that projects the base runs in double precision."
    )
    count_formula = "n * (n - 1) // 2 + n * m + n"
    search_ranges: ClassVar = {
        "training.optimizer.learning_rate": "{loguniform: [1e-4, 1e-2]}",
        "learning_rate_ratio": "{loguniform: [0.01, 1]}",
        "skew_init": "{choice: [henaff, cayley, random]}",
        "rebase_every": "{choice: [1, 100, null]}",
    }
    has_bias = False
    matrix_type = DynamicTrivializationMatrix

    @staticmethod
    def draw_input_weight(rows: int, input_size: int, generator: torch.Generator) -> Tensor:
        return kaiming_normal(rows, input_size, generator)
