"""uRNN: a unitary recurrent matrix of phases, reflections and Fourier transforms."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from longhaul_trainers.catalogue import NONLINEARITIES
from longhaul_trainers.cells.elman import ElmanCell, ElmanSettings
from longhaul_trainers.complex_modrelu import ComplexModReLUSettings
from longhaul_trainers.initialisation import uniform
from longhaul_trainers.matrices.restricted_unitary import (
    RestrictedUnitaryMatrix,
    RestrictedUnitarySettings,
)
from longhaul_trainers.settings import Settings, component, setting


@dataclass(frozen=True, kw_only=True)
class URNNSettings(RestrictedUnitarySettings, ElmanSettings):
    """Settings of `URNN`; defaults as published."""

    name: ClassVar[str] = "urnn"
    nonlinearity: Settings = component(NONLINEARITIES, ComplexModReLUSettings(), help="phi")
    initial_state: Literal["zero", "learned"] = setting(
        "learned", structural=True, help="h0: 0, or a parameter that starts uniform on ±sqrt(3/2n)"
    )


@final
class URNN(ElmanCell[URNNSettings]):
    """The complex recurrent network whose W is a product of seven cheap unitary operators.

    The state of n complex units is a vector of 2n numbers, real parts first; the readout sees them
    all. V starts Glorot uniform, its real and its imaginary part alike, theta uniform on ±pi, v
    Glorot uniform, modReLU's bias uniform on ±0.01, h0 is learned.

    Published with RMSprop (0.9) at 1e-3, batches of 20 and no clipping; 128 units for copying, 512
    for adding and images. One learning rate for everything.
    """

    settings_type = URNNSettings
    equations = (
        "h' = phi(W h + V x), h and V complex\n"
        "W = D3 R2 F^-1 D2 Pi R1 F D1\n"
        "D = diag(exp(i theta)), R = I - 2 v v^* / |v|^2, F the unitary Fourier transform, "
        "Pi a fixed random permutation"
    )
    reference = (
        'Arjovsky, Shah, Bengio, "Unitary Evolution Recurrent Neural Networks", ICML 2016, '
        "arXiv:1511.06464"
    )
    bibtex = """@inproceedings{arjovsky2016unitary,
  title = {Unitary Evolution Recurrent Neural Networks},
  author = {Arjovsky, Martin and Shah, Amar and Bengio, Yoshua},
  booktitle = {International Conference on Machine Learning},
  year = {2016},
}"""
    differs = (
        "W is multiplied out once per iteration, which costs less than applying its factors at "
        "every step. The authors' program divides by |z| + 1e-5, as here, the paper by |z|. An "
        "earlier state of that program leaves the Fourier transforms out and trains a scale of "
        "each row, with a penalty, so its W is not unitary. All trials of the authors share one "
        "permutation; here each draws its own."
    )
    count_formula = "7 * n + 2 * n * m + n + 2 * n"
    search_ranges: ClassVar = {
        "training.optimizer.learning_rate": "{loguniform: [1e-4, 3e-3]}",
        "learning_rate_ratio": "{loguniform: [1e-3, 1]}",
    }
    has_bias = False
    matrix_type = RestrictedUnitaryMatrix

    @staticmethod
    def draw_input_weight(rows: int, input_size: int, generator: torch.Generator) -> Tensor:
        bound = math.sqrt(6 / (input_size + rows // 2))
        return uniform(-bound, bound, rows, input_size, generator=generator)
