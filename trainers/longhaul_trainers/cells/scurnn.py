"""scuRNN: a unitary recurrent matrix through the complex scaled Cayley transform."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from longhaul_trainers.catalogue import NONLINEARITIES
from longhaul_trainers.cells.elman import ElmanCell, ElmanSettings
from longhaul_trainers.complex_modrelu import ComplexModReLUSettings
from longhaul_trainers.initialisation import glorot_uniform
from longhaul_trainers.matrices.unitary_cayley import UnitaryCayleyMatrix, UnitaryCayleySettings
from longhaul_trainers.settings import Settings, component, setting


@dataclass(frozen=True, kw_only=True)
class ScuRNNSettings(UnitaryCayleySettings, ElmanSettings):
    """Settings of `ScuRNN`; defaults as published for copying."""

    name: ClassVar[str] = "scurnn"
    nonlinearity: Settings = component(NONLINEARITIES, ComplexModReLUSettings(), help="phi")
    initial_state: Literal["zero", "learned"] = setting(
        "learned", structural=True, help="h0: 0, or a parameter that starts uniform on ±0.01"
    )
    recurrent_optimizer: Literal["adam", "adamw", "rmsprop", "sgd"] | None = setting(
        "rmsprop", structural=True, help="optimiser of A; null: the trial's own"
    )


@final
class ScuRNN(ElmanCell[ScuRNNSettings]):
    """The complex recurrent network whose W is the Cayley transform of a skew-Hermitian matrix.

    The state of n complex units is a vector of 2n numbers, real parts first; the readout sees them
    all. V starts Glorot uniform for its 2n rows, modReLU's bias uniform on ±0.01, h0 (learned)
    uniform on ±0.01, A as in scoRNN, theta uniform on (0, 2 pi).

    Published with Adam at 1e-3 for the rest, RMSprop at 1e-4 for A, Adagrad for theta at 1e-4
    (copying) or 1e-3 (adding, images: ``phase_learning_rate_ratio: 1``). The paper warns of
    modReLU's slope near 0, which a bias above 0 makes huge; a first state that is not 0 helps.
    """

    settings_type = ScuRNNSettings
    equations = (
        "h' = phi(W h + V x), h and V complex\n"
        "W = (I + A)^-1 (I - A) D, A skew-Hermitian, D = diag(exp(i theta))"
    )
    reference = UnitaryCayleyMatrix.reference
    bibtex = """@inproceedings{maduranga2019complex,
  title = {Complex Unitary Recurrent Neural Networks Using Scaled {Cayley} Transform},
  author = {Maduranga, Kehelwala D. G. and Helfrich, Kyle E. and Ye, Qiang},
  booktitle = {Proceedings of the AAAI Conference on Artificial Intelligence},
  volume = {33},
  year = {2019},
}"""
    differs = (
        "The authors' program computes h W with rows h, the transpose of the paper's W, which is "
        "the one used here; takes sqrt(|z|^2 + 1e-5) for |z| in modReLU; trains theta by Adagrad, "
        "here by the trial's optimiser unless `phase_optimizer` names another. Their copying "
        "program keeps only the first of the readout's variables to train, so that its bias stays "
        "where it started; their adding program names a class that does not exist, and draws A's "
        "angles from (0, 2 pi) instead of (0, pi / 2), which the tangent makes unbounded."
    )
    count_formula = "n ** 2 + n + 2 * n * m + n + 2 * n"
    search_ranges: ClassVar = {
        "training.optimizer.learning_rate": "{loguniform: [1e-4, 1e-2]}",
        "learning_rate_ratio": "{loguniform: [0.01, 1]}",
        "phase_learning_rate_ratio": "{loguniform: [0.01, 1]}",
    }
    has_bias = False
    matrix_type = UnitaryCayleyMatrix

    def __init__(
        self,
        input_size: int,
        slots: Sequence[ScuRNNSettings],
        generators: Sequence[torch.Generator],
    ) -> None:
        super().__init__(input_size, slots, generators)
        if self.initial is not None:
            # from the ±sqrt(3/2n) of all Elman cells to the ±0.01 of this one
            with torch.no_grad():
                self.initial.mul_(0.01 / math.sqrt(3 / (2 * self.hidden_size)))

    @staticmethod
    def draw_input_weight(rows: int, input_size: int, generator: torch.Generator) -> Tensor:
        return glorot_uniform(rows, input_size, generator)
