"""EURNN: a unitary recurrent matrix of rotations of pairs, of tunable capacity."""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from longhaul_trainers.catalogue import NONLINEARITIES
from longhaul_trainers.cells.elman import ElmanCell, ElmanSettings
from longhaul_trainers.complex_modrelu import ComplexModReLUSettings
from longhaul_trainers.errors import SettingError
from longhaul_trainers.initialisation import uniform
from longhaul_trainers.matrices.eunn import EUNNMatrix, EUNNSettings
from longhaul_trainers.settings import Settings, component


@dataclass(frozen=True, kw_only=True)
class EURNNSettings(EUNNSettings, ElmanSettings):
    """Settings of `EURNN`; defaults as published for copying."""

    name: ClassVar[str] = "eurnn"
    nonlinearity: Settings = component(
        NONLINEARITIES, ComplexModReLUSettings(offset=0.01, epsilon=0.0), help="phi"
    )

    def check(self) -> None:
        super().check()
        self.check_pairs(self.hidden_size)
        if not self.complex_valued and self.nonlinearity.name == "complex_modrelu":
            problem = "complex_modrelu couples real and imaginary parts"
            advice = "with complex_valued: false expected another, as {name: modrelu, offset: 0.01}"
            raise SettingError("nonlinearity", f"{problem}; {advice}")


@final
class EURNN(ElmanCell[EURNNSettings]):
    """The complex recurrent network whose W is a product of layers of 2 by 2 rotations.

    The number of layers tunes what W can be, from neighbours that mix to every unitary matrix, and
    ``style: fft`` connects all units with log2 n layers. The state of n complex units is a vector
    of 2n numbers, real parts first; the readout sees them all. With ``complex_valued: false`` W is
    a rotation, and the nonlinearity must be a real one: ``{name: modrelu, offset: 0.01}``.

    All angles start uniform on ±pi, V uniform on ±0.01, modReLU's bias uniform on ±0.01; h0 = 0.
    Published with RMSprop (0.9) at 1e-3, batches of 128 and no clipping: 128 complex units for
    copying with 2 to n layers or fft, 512 real ones for permuted images. Kerg et al. 2019
    (arXiv:1905.12080) found alpha 0.5 for copying, 1e-4 and 0.9 for images.
    """

    settings_type = EURNNSettings
    equations = (
        "h' = phi(W h + V x)\n"
        "W = D F_L ... F_1, D = diag(exp(i w))\n"
        "F rotates pairs of units by [[cos t, -e^{i phi} sin t], [sin t, e^{i phi} cos t]]"
    )
    reference = EUNNMatrix.reference
    bibtex = """@inproceedings{jing2017tunable,
  title = {Tunable Efficient Unitary Neural Networks ({EUNN}) and their Application to {RNNs}},
  author = {Jing, Li and Shen, Yichen and Dubcek, Tena and Peurifoy, John and Skirlo, Scott and \
LeCun, Yann and Tegmark, Max and Solja{\\v{c}}i{\\'c}, Marin},
  booktitle = {International Conference on Machine Learning},
  year = {2017},
}"""
    differs = (
        "W is multiplied out once per iteration instead of being applied layer by layer at every "
        "step. The authors' readout sees the real part of a complex state alone, here both parts. "
        "Their program for images asks whether the builtin `complex` is true instead of its flag, "
        "so that its real branch is never reached and the documented `--complex False` cannot "
        "work. Its first real tunable version multiplies the last unit by 0 in every second layer, "
        "so that W is not orthogonal. Its versions start the angles on ±pi or on ±0.01, modReLU's "
        "bias at 0 or -0.01, and add 0.01 or 1e-5 to |z|; here the first of each, but for the bias."
    )
    count_formula = "layers * (n - 1) + n + 2 * n * m + n"
    search_ranges: ClassVar = {
        "training.optimizer.learning_rate": "{loguniform: [1e-4, 1e-2]}",
        "layers": "{choice: [2, 4, 8, 16, 32]}",
        "style": "{choice: [tunable, fft]}",
    }
    has_bias = False
    matrix_type = EUNNMatrix

    @staticmethod
    def draw_input_weight(rows: int, input_size: int, generator: torch.Generator) -> Tensor:
        return uniform(-0.01, 0.01, rows, input_size, generator=generator)
