"""scoRNN: an orthogonal recurrent matrix through the scaled Cayley transform."""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from longhaul_trainers.catalogue import NONLINEARITIES
from longhaul_trainers.cells.elman import ElmanCell, ElmanSettings
from longhaul_trainers.initialisation import uniform
from longhaul_trainers.matrices.cayley import CayleyMatrix, CayleySettings
from longhaul_trainers.nonlinearities import ModReLUSettings
from longhaul_trainers.settings import Settings, component


@dataclass(frozen=True, kw_only=True)
class ScoRNNSettings(CayleySettings, ElmanSettings):
    """Settings of `ScoRNN`; defaults as published for the copying and adding problems."""

    name: ClassVar[str] = "scornn"
    nonlinearity: Settings = component(
        NONLINEARITIES, ModReLUSettings(bias_init="zero"), help="phi"
    )


@final
class ScoRNN(ElmanCell[ScoRNNSettings]):
    """The simple recurrent network whose W is the scaled Cayley transform of a skew matrix.

    V starts uniform on ±0.01, modReLU's bias at 0. ``rho``, how many eigenvalues start on the
    negative side, matters most: published with 0.5 for copying and adding, 0.1 for images, always
    with RMSprop at a tenth of the learning rate for A, whatever optimiser the rest has.
    """

    settings_type = ScoRNNSettings
    equations = (
        "h' = phi(W h + V x)\n"
        "W = (I + A)^-1 (I - A) D, A = X - X^T, X strictly upper triangular, D fixed, 1 or -1"
    )
    reference = (
        'Helfrich, Willmott, Ye, "Orthogonal Recurrent Neural Networks with Scaled Cayley '
        'Transform", ICML 2018, arXiv:1707.09520'
    )
    bibtex = """@inproceedings{helfrich2018scornn,
  title = {Orthogonal Recurrent Neural Networks with Scaled {Cayley} Transform},
  author = {Helfrich, Kyle and Willmott, Devin and Ye, Qiang},
  booktitle = {International Conference on Machine Learning},
  year = {2018},
}"""
    differs = (
        "The authors' program computes h W with rows h, so that its recurrent matrix is the "
        "transpose of the paper's W, which is the one used here. torch's own Cayley "
        "parametrisation is (I + A/2) (I - A/2)^-1: its A is -2 times this one. modReLU adds "
        "nothing to |z|, as in the paper; at exactly 0 a unit passes no gradient."
    )
    count_formula = "n * (n - 1) // 2 + n * m + n"
    search_ranges: ClassVar = {
        "training.optimizer.learning_rate": "{loguniform: [1e-4, 1e-2]}",
        "learning_rate_ratio": "{loguniform: [0.01, 1]}",
        "rho": "{uniform: [0, 1]}",
        "recurrent_optimizer": "{choice: [rmsprop, adam]}",
    }
    has_bias = False
    matrix_type = CayleyMatrix

    @staticmethod
    def draw_input_weight(rows: int, input_size: int, generator: torch.Generator) -> Tensor:
        return uniform(-0.01, 0.01, rows, input_size, generator=generator)
