"""The recurrent network whose singular values stay within a margin of 1."""

from dataclasses import dataclass
from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from longhaul_trainers.catalogue import NONLINEARITIES
from longhaul_trainers.cells.elman import ElmanCell, ElmanSettings
from longhaul_trainers.initialisation import uniform
from longhaul_trainers.matrices.svd_margin import SVDMarginMatrix, SVDMarginSettings
from longhaul_trainers.settings import setting


@dataclass(frozen=True, kw_only=True)
class SpectralMarginSettings(SVDMarginSettings, ElmanSettings):
    """Settings of `SpectralMargin`; margin and nonlinearity as best on images."""

    name: ClassVar[str] = "spectral_margin"
    initial_state: Literal["zero", "learned", "learned_from_zero"] = setting(
        "learned_from_zero",
        structural=True,
        help="h0: 0, or a parameter that starts uniform on ±sqrt(3 / 2n), or one that starts at 0",
    )

    def check(self) -> None:
        """Refuses what the recurrent matrix or the nonlinearity does."""
        super().check()
        NONLINEARITIES.get(self.nonlinearity.name).check_size(self.hidden_size)


@final
class SpectralMargin(ElmanCell[SpectralMarginSettings]):
    """The simple recurrent network whose W has singular values within 1 ± m, or free ones.

    W_in starts uniform on ±0.01, b and h0 at 0, W orthogonal. With ``margin: 0`` W stays
    orthogonal, with ``margin: null`` only its parametrisation is another than a free matrix's.

    Published with RMSprop (0.9) at 1e-4 and the bases at 1e-6, batches of 50, margins 0, 0.001,
    0.01, 0.1, 1 and none (on adding also 10 and 100); ``nonlinearity: identity`` for copying,
    rectifiers for adding, tanh for images and text, where m = 0.1 was best. For images an earlier
    text of the paper has 1e-3 for bases and spectrum. With tanh copying needs thousands of epochs.
    """

    settings_type = SpectralMarginSettings
    equations = (
        "h' = phi(W h + W_in x + b)\n"
        "W = U diag(s) V^T, U and V orthogonal\n"
        "s = 1 + 2 m (sigmoid(p) - 1/2), or s = p without margin\n"
        "U <- (I + eta/2 A)^-1 (I - eta/2 A) U, A = G U^T - U G^T, G = dL/dU; V likewise"
    )
    reference = SVDMarginMatrix.reference
    bibtex = """@inproceedings{vorontsov2017orthogonality,
  title = {On Orthogonality and Learning Recurrent Networks with Long Term Dependencies},
  author = {Vorontsov, Eugene and Trabelsi, Chiheb and Kadoury, Samuel and Pal, Chris},
  booktitle = {International Conference on Machine Learning},
  year = {2017},
}"""
    differs = (
        "Equation 9 as printed, U <- U + Cayley(A), does not give orthogonal matrices; here the "
        "transform multiplies U, as in the papers it refers to. The released program multiplies "
        "from the left by the transform of G^T U - U^T G, which ascends about as often as it "
        "descends, and starts every update from the first U, so that its bases hardly move. It "
        "rectifies s under the sigmoid too, which matters for margins above 1 only (rectified: "
        "false does not), cannot start from the Glorot and identity matrices of the paper's "
        "tables, and adds 1e-4 times the squares of W_in, of the composite W and of the readout to "
        "the loss: composite_decay: 1e-4 and a weight_decay of 2e-4, the gradient's factor, which "
        "here reaches b, h0 and the nonlinearity too. It clips, number by number, what is passed "
        "back through time (at 100, text 30), where training.clip_norm limits the norm of the "
        "whole gradient."
    )
    count_formula = "n * (2 * n + 1) + n * m + n + n"
    search_ranges: ClassVar = {
        "training.optimizer.learning_rate": "{loguniform: [1e-5, 1e-3]}",
        "learning_rate_ratio": "{loguniform: [1e-3, 1]}",
        "margin": "{choice: [0, 0.001, 0.01, 0.1, 1, null]}",
        "spectrum_penalty": "{choice: [0, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1]}",
        "nonlinearity": "{choice: [identity, relu, tanh, prelu, oplu]}",
    }
    has_bias = True
    matrix_type = SVDMarginMatrix

    @staticmethod
    def draw_input_weight(rows: int, input_size: int, generator: torch.Generator) -> Tensor:
        return uniform(-0.01, 0.01, rows, input_size, generator=generator)
