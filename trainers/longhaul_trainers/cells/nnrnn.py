"""nnRNN: a recurrent matrix in its Schur form, non-normal with eigenvalues near the circle."""

from dataclasses import dataclass
from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from longhaul_trainers.catalogue import NONLINEARITIES
from longhaul_trainers.cells.elman import ElmanCell, ElmanSettings
from longhaul_trainers.initialisation import glorot_normal, kaiming_normal
from longhaul_trainers.matrices.schur import SchurMatrix, SchurSettings
from longhaul_trainers.nonlinearities import ModReLUSettings
from longhaul_trainers.settings import Settings, component, setting


@dataclass(frozen=True, kw_only=True)
class NNRNNSettings(SchurSettings, ElmanSettings):
    """Settings of `NNRNN`; defaults as published for copying."""

    name: ClassVar[str] = "nnrnn"
    nonlinearity: Settings = component(NONLINEARITIES, ModReLUSettings(), help="phi")
    input_init: Literal["xavier_normal", "kaiming_normal"] = setting(
        "xavier_normal",
        help="V starts normal with variance 2 / (n + m), or 2 / m as for characters",
    )

    def check(self) -> None:
        super().check()
        self.check_even(self.hidden_size)


@final
class NNRNN(ElmanCell[NNRNNSettings]):
    """The simple recurrent network whose W may be far from normal with eigenvalues near 1.

    W is held in its Schur form P (Lambda + T) P^T. The moduli gamma of the eigenvalues are drawn
    to 1 by the penalty delta sum (1 - gamma)^2, which is logged apart from the task loss; T, free,
    lets one mode drive the next. gamma fixed at 1 and a large decay of T give an orthogonal cell.

    theta starts uniform on (0, 2 pi), gamma at 1, T at 0, modReLU's bias uniform on ±0.01, h0 = 0.
    ``skew_init`` means less here than in expRNN: with ``henaff`` and ``cayley`` P commutes with
    Lambda at the start, so that the first W is Lambda itself. Only ``random`` makes another first
    W, and none another spectrum; what remains is where log P starts.

    Published with RMSprop without clipping: copying over 200 steps 128 units, rate 5e-4,
    alpha 0.99, ``learning_rate_ratio: 0.002``, delta 1e-4, ``triangular_decay: 1e-6``, henaff;
    permuted images 512 units, 1.5e-4, alpha 0.99, ratio 0.1, 0.15, 1e-4, cayley; characters 1024
    units, 8e-4, alpha 0.9, ratio 0.1, 1, 1e-4, cayley, ``input_init: kaiming_normal``. tanh is
    expected to fail on copying.

    The decay of T is the optimiser's own: under RMSprop and Adam it is added to the gradient and
    divided by its root mean square like it, under AdamW it is not. Published values hold for the
    former and do not carry over.
    """

    settings_type = NNRNNSettings
    equations = (
        "h' = phi(W h + V x)\n"
        "W = P (Lambda + T) P^T, P = exp(A), A = X - X^T, X strictly upper triangular\n"
        "Lambda = diag(gamma_i [[cos theta_i, -sin theta_i], [sin theta_i, cos theta_i]])\n"
        "T strictly lower block triangular\n"
        "loss = task loss + delta sum (1 - gamma_i)^2"
    )
    reference = SchurMatrix.reference
    bibtex = """@inproceedings{kerg2019nonnormal,
  title = {Non-normal Recurrent Neural Network (nnRNN): learning long time dependencies while \
improving expressivity with transient dynamics},
  author = {Kerg, Giancarlo and Goyette, Kyle and Puelma Touzel, Maximilian and Gidel, Gauthier \
and Vorontsov, Eugene and Bengio, Yoshua and Lajoie, Guillaume},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2019},
}"""
    differs = (
        "No bias but modReLU's, as in the authors' program; their equation has one. They multiply "
        "rows h by the transpose of the W used here. Their T also fills the entry below the "
        "diagonal inside each 2x2 block, and with such an entry t the modulus of an eigenvalue is "
        "no longer gamma: |lambda|^2 = gamma^2 + gamma t sin(theta), so that the penalty misses "
        "its aim; on the other hand W is then any matrix with complex eigenvalues. Here T is "
        "strictly below the blocks; `triangular_mask: released` is theirs, with n / 2 parameters "
        "more. The published 18.9K (with one-hot inputs) and 269K parameters are counted with it. "
        "Since January 2020 their program starts P from uninitialised memory and forgets the "
        "initialiser of V; its `relu` is no nonlinearity at all; the loss that it reports for "
        "copying includes the penalty; a default decay of T is written 10e-6 = 1e-5, once even "
        "10^-6 = -16. Its `random` fixes signs by the diagonal of Q instead of R, so that it is "
        "not Haar's measure; here it is. Its `henaff` draws from (-pi, 0), here "
        "`henaff_negative`, with the same spectra. The README has other best settings than the "
        "paper: copying with cayley, images 2e-4 and delta 0.1, characters Adam (0, 0.9) at 2e-3."
    )
    count_formula = "n**2 - n // 2 + n * m + n"
    search_ranges: ClassVar = {
        "training.optimizer.learning_rate": "{loguniform: [1e-5, 1e-2]}",
        "training.optimizer.alpha": "{choice: [0.5, 0.9, 0.99]}",
        "learning_rate_ratio": "{loguniform: [0.001, 1]}",
        "skew_init": "{choice: [random, cayley, henaff]}",
        "delta": "{choice: [0.0, 1e-4, 1e-3, 1e-2, 0.1, 0.15, 1.0, 10.0]}",
        "triangular_decay": "{choice: [0.0, 1e-6, 1e-5, 1e-4]}",
        "triangular_mask": "{choice: [exact, released]}",
    }
    has_bias = False
    matrix_type = SchurMatrix

    @classmethod
    def draw_input(
        cls, slot: NNRNNSettings, rows: int, input_size: int, generator: torch.Generator
    ) -> Tensor:
        if slot.input_init == "kaiming_normal":
            return kaiming_normal(rows, input_size, generator)
        return glorot_normal(rows, input_size, generator)

    @staticmethod
    def draw_input_weight(rows: int, input_size: int, generator: torch.Generator) -> Tensor:
        return glorot_normal(rows, input_size, generator)
