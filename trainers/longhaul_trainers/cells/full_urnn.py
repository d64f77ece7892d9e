"""The full-capacity uRNN: any unitary recurrent matrix, trained along the manifold."""

from dataclasses import dataclass
from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from longhaul_trainers.catalogue import NONLINEARITIES
from longhaul_trainers.cells.elman import ElmanCell, ElmanSettings
from longhaul_trainers.complex_modrelu import ComplexModReLUSettings
from longhaul_trainers.initialisation import glorot_uniform
from longhaul_trainers.matrices.unitary import UnitaryMatrix, UnitarySettings
from longhaul_trainers.settings import Settings, component, setting


@dataclass(frozen=True, kw_only=True)
class FullURNNSettings(UnitarySettings, ElmanSettings):
    """Settings of `FullURNN`; defaults as published for copying."""

    name: ClassVar[str] = "full_urnn"
    nonlinearity: Settings = component(NONLINEARITIES, ComplexModReLUSettings(), help="phi")
    initial_state: Literal["zero", "learned", "learned_from_zero"] = setting(
        "learned",
        structural=True,
        help="h0: 0, or a parameter that starts uniform on ±sqrt(3 / 2n), or one that starts at 0",
    )


@final
class FullURNN(ElmanCell[FullURNNSettings]):
    """The complex recurrent network whose W may be any unitary matrix.

    The state of n complex units is a vector of 2n numbers, real parts first; the readout sees them
    all. V starts Glorot uniform, modReLU's bias uniform on ±0.01, h0 is learned.

    Published with RMSprop (0.9) at 1e-3: for copying n = 128, batches of 20 and the plain geodesic
    step at the same rate; for images n = 116 at 1e-3 or n = 512 at 1e-4, batches of 50, W at 1e-6
    and ``recurrent_optimizer: rmsprop``; for speech n = 128 to 256, batches of 28. Nothing is
    clipped. W is 2 n^2 numbers with n^2 degrees of freedom. The paper counts these: its 22 thousand
    parameters for copying with n = 128 are 38,025 here, readout included.
    """

    settings_type = FullURNNSettings
    equations = (
        "h' = phi(W h + V x), h, W and V complex, W unitary\n"
        "W <- (I + eta/2 A)^-1 (I - eta/2 A) W, A = G W^* - W G^*, G = dL/dW"
    )
    reference = UnitaryMatrix.reference
    bibtex = """@inproceedings{wisdom2016fullcapacity,
  title = {Full-Capacity Unitary Recurrent Neural Networks},
  author = {Wisdom, Scott and Powers, Thomas and Hershey, John R. and Le Roux, Jonathan and \
Atlas, Les},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2016},
}"""
    differs = (
        "The authors' program trains the real form [[Re, -Im], [Im, Re]] and takes for G the upper "
        "half of its gradient, which leaves out what reaches Re and Im through the lower half; "
        "here G is dL/dRe + i dL/dIm, about twice as long, so a learning rate of theirs is about "
        "twice as large as one here. For copying and speech that program starts W as the uRNN's "
        "product with random parameters, only for images from the singular vectors of a Gaussian "
        "matrix, as here; there h0 starts uniform on ±0.01. Its W drifts "
        "from the unitary matrices by rounding, here every step removes that."
    )
    count_formula = "2 * n * n + 2 * n * m + n + 2 * n"
    search_ranges: ClassVar = {
        "training.optimizer.learning_rate": "{loguniform: [1e-4, 3e-3]}",
        "learning_rate_ratio": "{loguniform: [1e-3, 1]}",
        "recurrent_optimizer": "{choice: [null, rmsprop]}",
    }
    has_bias = False
    matrix_type = UnitaryMatrix

    @staticmethod
    def draw_input_weight(rows: int, input_size: int, generator: torch.Generator) -> Tensor:
        return glorot_uniform(rows, input_size, generator)
