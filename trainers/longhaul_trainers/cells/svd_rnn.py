"""Spectral-RNN: singular values within a margin of 1, singular vectors by reflections."""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from longhaul_trainers.catalogue import NONLINEARITIES
from longhaul_trainers.cells.elman import ElmanCell, ElmanSettings
from longhaul_trainers.initialisation import glorot_uniform
from longhaul_trainers.matrices.svd_householder import SVDHouseholderMatrix, SVDHouseholderSettings
from longhaul_trainers.nonlinearities import ReLUSettings
from longhaul_trainers.settings import Settings, component


@dataclass(frozen=True, kw_only=True)
class SVDRNNSettings(SVDHouseholderSettings, ElmanSettings):
    """Settings of `SVDRNN`; defaults as in the authors' program."""

    name: ClassVar[str] = "svd_rnn"
    nonlinearity: Settings = component(NONLINEARITIES, ReLUSettings(), help="phi")

    def check(self) -> None:
        super().check()
        self.reflection_count(self.hidden_size)


@final
class SVDRNN(ElmanCell[SVDRNNSettings]):
    """The simple recurrent network whose W has singular values within 1 ± r.

    V starts Glorot uniform, b at 0, W orthogonal, h0 is 0; the authors' program has k = n / 4
    reflections a side, r = 0.01 and rectifiers. One learning rate for everything.
    """

    settings_type = SVDRNNSettings
    equations = (
        "h' = phi(W h + V x + b)\n"
        "W = L diag(s) R^T, s = 1 + 2 r (sigmoid(p) - 1/2)\n"
        "L = H_n(u_n) ... H_{n-k+1}(u_{n-k+1}), R = H_n(v_n) ... H_{n-k+1}(v_{n-k+1})\n"
        "H_j(u) = I - 2 u u^T / |u|^2 on the last j coordinates, H_1(u) = diag(1, ..., 1, u)"
    )
    reference = SVDHouseholderMatrix.reference
    bibtex = """@inproceedings{zhang2018stabilizing,
  title = {Stabilizing Gradients for Deep Neural Networks via Efficient {SVD} Parameterization},
  author = {Zhang, Jiong and Lei, Qi and Dhillon, Inderjit S.},
  booktitle = {International Conference on Machine Learning},
  year = {2018},
}"""
    differs = (
        "W is formed once for a whole sequence instead of being applied step by step. The learning "
        "rate of p is not divided by 2 r, as it is in the model with geodesic bases that has the "
        "same spectrum; raise learning_rate_ratio where r is small."
    )
    count_formula = "2 * (n // 4) * n - (n // 4) * (n // 4 - 1) + n + n * m + n"
    search_ranges: ClassVar = {
        "training.optimizer.learning_rate": "{loguniform: [1e-4, 1e-2]}",
        "margin": "{loguniform: [1e-3, 1]}",
        "reflections": "{choice: [null, 16, 64, 128]}",
    }
    has_bias = True
    matrix_type = SVDHouseholderMatrix

    @staticmethod
    def draw_input_weight(rows: int, input_size: int, generator: torch.Generator) -> Tensor:
        return glorot_uniform(rows, input_size, generator)
