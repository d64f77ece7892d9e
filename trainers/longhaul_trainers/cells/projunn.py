"""projUNN: an orthogonal recurrent matrix under updates of low rank."""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from longhaul_trainers.catalogue import NONLINEARITIES
from longhaul_trainers.cells.elman import ElmanCell, ElmanSettings
from longhaul_trainers.initialisation import glorot_uniform
from longhaul_trainers.matrices.projected import ProjectedMatrix, ProjectedSettings
from longhaul_trainers.nonlinearities import ReLUSettings
from longhaul_trainers.settings import Settings, component


@dataclass(frozen=True, kw_only=True)
class ProjUNNSettings(ProjectedSettings, ElmanSettings):
    """Settings of `ProjUNN`; defaults as published for copying."""

    name: ClassVar[str] = "projunn"
    nonlinearity: Settings = component(NONLINEARITIES, ReLUSettings(), help="phi")

    def check(self) -> None:
        """Refuses a rank above the number of hidden units."""
        super().check()
        ProjectedMatrix.check_size(self.hidden_size, self)


@final
class ProjUNN(ElmanCell[ProjUNNSettings]):
    """The simple recurrent network with an orthogonal W that moves by updates of low rank.

    V starts Glorot uniform, b at 0. Published with RMSprop (0.99), rank 1, W at 1/32 of the
    learning rate, the tangent variant: copying n = 190 at 7e-4, ``recurrent_init: henaff``,
    rectifiers, batches of 128, the rate times 0.9 every 4000 steps; adding n = 170 at 1e-3, batches
    of 50, ``recurrent_init: identity``, the rate times 0.94 every 2000 steps; images n = 170 at
    1e-3, ``nonlinearity: modrelu``, the rate times 0.2 every 60 epochs.

    What is saved by the low rank is the work of a step, not of the scan: up to some hundred units
    a full step costs as little.
    """

    settings_type = ProjUNNSettings
    equations = (
        "h' = phi(W h + V x + b), W orthogonal\n"
        "a b^T = -eta G cut to rank k, G = dL/dW, c = W^T a\n"
        "direct: W <- polar factor of W + a b^T\n"
        "tangent: W <- W exp((c b^T - b c^T) / 2)"
    )
    reference = ProjectedMatrix.reference
    bibtex = """@inproceedings{kiani2022projunn,
  title = {{projUNN}: Efficient Method for Training Deep Networks with Unitary Matrices},
  author = {Kiani, Bobak and Balestriero, Randall and LeCun, Yann and Lloyd, Seth},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2022},
}"""
    differs = (
        "The low rank is by the leading singular triplets (low_rank: svd) or the largest columns "
        "(columns), not by sampling that estimates them, so that a step depends on its gradient "
        "alone; the eigenvectors that takes cost O(n^3) once per iteration. The authors' program "
        "works in single precision with closed forms for 2 x 2 eigenvectors, and replaces what "
        "fails; here a step is in double precision and ends with a Newton-Schulz iteration. Real "
        "matrices only: the paper's unitary ones are not offered."
    )
    count_formula = "n * n + n * m + n"
    search_ranges: ClassVar = {
        "training.optimizer.learning_rate": "{loguniform: [1e-4, 1e-2]}",
        "learning_rate_ratio": "{loguniform: [0.01, 1]}",
        "rank": "{choice: [1, 2, 4, 8]}",
        "variant": "{choice: [direct, tangent]}",
        "recurrent_init": "{choice: [henaff, identity]}",
        "nonlinearity": "{choice: [relu, modrelu]}",
    }
    has_bias = True
    matrix_type = ProjectedMatrix

    @staticmethod
    def draw_input_weight(rows: int, input_size: int, generator: torch.Generator) -> Tensor:
        return glorot_uniform(rows, input_size, generator)
