"""expRNN: an orthogonal recurrent matrix through the matrix exponential."""

import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from longhaul_trainers.catalogue import NONLINEARITIES
from longhaul_trainers.cells.elman import ElmanCell, ElmanSettings
from longhaul_trainers.matrices.exponential import ExponentialMatrix
from longhaul_trainers.matrices.skew import SkewSettings
from longhaul_trainers.nonlinearities import ModReLUSettings
from longhaul_trainers.settings import Settings, component


@dataclass(frozen=True, kw_only=True)
class ExpRNNSettings(SkewSettings, ElmanSettings):
    """Settings of `ExpRNN`; defaults as published for the copying problem."""

    name: ClassVar[str] = "exprnn"
    nonlinearity: Settings = component(NONLINEARITIES, ModReLUSettings(), help="phi")


@final
class ExpRNN(ElmanCell[ExpRNNSettings]):
    """The simple recurrent network whose W is the exponential of a skew-symmetric matrix.

    V starts Kaiming normal for a rectifier, modReLU's bias uniform on ±0.01.
    Published for copying and speech: ``skew_init: henaff``, for images: ``cayley``.
    """

    settings_type = ExpRNNSettings
    equations = "h' = phi(W h + V x)\nW = exp(A), A = X - X^T, X strictly upper triangular"
    reference = (
        'Lezcano-Casado and Martínez-Rubio, "Cheap Orthogonal Constraints in Neural Networks: A '
        'Simple Parametrization of the Orthogonal and Unitary Group", ICML 2019, arXiv:1901.08428'
    )
    bibtex = """@inproceedings{lezcano2019cheap,
  title = {Cheap Orthogonal Constraints in Neural Networks: A Simple Parametrization of the \
Orthogonal and Unitary Group},
  author = {Lezcano-Casado, Mario and Mart{\\'i}nez-Rubio, David},
  booktitle = {International Conference on Machine Learning},
  year = {2019},
}"""
    count_formula = "n * (n - 1) // 2 + n * m + n"
    search_ranges: ClassVar = {
        "training.optimizer.learning_rate": "{loguniform: [1e-4, 1e-2]}",
        "learning_rate_ratio": "{loguniform: [0.01, 1]}",
        "skew_init": "{choice: [henaff, cayley]}",
    }
    has_bias = False
    matrix_type = ExponentialMatrix

    @staticmethod
    def draw_input_weight(rows: int, input_size: int, generator: torch.Generator) -> Tensor:
        deviation = math.sqrt(2 / input_size)
        return deviation * torch.randn(rows, input_size, generator=generator)
