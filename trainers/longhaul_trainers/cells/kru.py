"""KRU: a recurrent matrix of few numbers, nearly unitary."""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from longhaul_trainers.catalogue import NONLINEARITIES
from longhaul_trainers.cells.elman import ElmanCell, ElmanSettings
from longhaul_trainers.complex_modrelu import ComplexModReLUSettings
from longhaul_trainers.initialisation import glorot_uniform
from longhaul_trainers.matrices.kronecker import KroneckerMatrix, KroneckerSettings
from longhaul_trainers.settings import Settings, component


@dataclass(frozen=True, kw_only=True)
class KRUSettings(KroneckerSettings, ElmanSettings):
    """Settings of `KRU`."""

    name: ClassVar[str] = "kru"
    nonlinearity: Settings = component(NONLINEARITIES, ComplexModReLUSettings(), help="phi")

    def check(self) -> None:
        super().check()
        self.factor_sizes(self.hidden_size)


@final
class KRU(ElmanCell[KRUSettings]):
    """The recurrent network whose W is a Kronecker product, unitary by a penalty only.

    With factors of two rows W has 8 log2 n numbers, so that nearly all parameters are V and the
    readout; factors of more rows lie between that and a free W. The state of n complex units is a
    vector of 2n numbers, real parts first, all of which the readout sees; with
    ``complex_valued: false`` take a real nonlinearity, for example ``modrelu``.

    V starts Glorot uniform, b at 0, the factors unitary, h0 is 0. The penalty leaves W room to
    forget; with lambda = 0 nothing holds it near the unitary matrices. The paper's strength of it,
    learning rates and initial values are not known to us: those here are ours.
    """

    settings_type = KRUSettings
    equations = (
        "h' = phi(W h + V x + b), h, V and b complex\n"
        "W = A_1 x ... x A_F, a Kronecker product\n"
        "loss + lambda sum_f |A_f^* A_f - I|_F^2"
    )
    reference = KroneckerMatrix.reference
    bibtex = """@inproceedings{jose2018kronecker,
  title = {Kronecker Recurrent Units},
  author = {Jose, Cijo and Ciss{\\'e}, Moustapha and Fleuret, Fran{\\c{c}}ois},
  booktitle = {International Conference on Machine Learning},
  year = {2018},
}"""
    differs = (
        "W is formed once for a whole sequence; the paper multiplies h by one factor after the "
        "other, which costs less for very many units only. Factors are square, all of one size but "
        "for one smaller one; the paper allows rectangular factors too. The modReLU, the Haar "
        "start of the factors and the default strength of the penalty are ours."
    )
    count_formula = "8 * log2(n) + 2 * n * m + 3 * n"
    search_ranges: ClassVar = {
        "training.optimizer.learning_rate": "{loguniform: [1e-4, 1e-2]}",
        "learning_rate_ratio": "{loguniform: [0.01, 1]}",
        "unitary_penalty": "{loguniform: [1e-4, 10]}",
        "factor_size": "{choice: [2, 4, 8, 16]}",
    }
    has_bias = True
    matrix_type = KroneckerMatrix

    @staticmethod
    def draw_input_weight(rows: int, input_size: int, generator: torch.Generator) -> Tensor:
        return glorot_uniform(rows, input_size, generator)
