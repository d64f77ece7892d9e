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

    V starts uniform on ±0.01, modReLU's bias at 0.
    Published with ``rho: 0.5`` for copying and adding, 0.1 for images, always with RMSprop at a
    tenth of the learning rate for A.

    Differs from the authors' program: that one computes h W with rows h, so its recurrent matrix is
    the transpose of the paper's W, which is the one used here.
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
    has_bias = False
    matrix_type = CayleyMatrix

    @staticmethod
    def draw_input_weight(rows: int, input_size: int, generator: torch.Generator) -> Tensor:
        return uniform(-0.01, 0.01, rows, input_size, generator=generator)
