"""Plain recurrent cells with an unconstrained matrix."""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from longhaul_trainers.catalogue import NONLINEARITIES
from longhaul_trainers.cells.elman import ElmanCell, ElmanSettings
from longhaul_trainers.initialisation import glorot_uniform
from longhaul_trainers.matrices.free import FreeMatrix, FreeSettings
from longhaul_trainers.nonlinearities import ReLUSettings
from longhaul_trainers.settings import Settings, component, setting


@dataclass(frozen=True, kw_only=True)
class RNNSettings(FreeSettings, ElmanSettings):
    """Settings of `RNN`."""

    name: ClassVar[str] = "rnn"


@final
class RNN(ElmanCell[RNNSettings]):
    """The simple recurrent network.

    V starts Glorot uniform, b at 0; W as ``recurrent_init`` says. With ``orthogonal`` or ``henaff``
    this is the orthogonally initialised RNN of Henaff et al. 2016 (arXiv:1602.06662), with
    ``chain`` the non-normal RNN of Orhan and Pitkow 2020 (arXiv:1905.13715), whose
    ``recurrent_gain`` they search around 1, and with ``positive`` and rectifiers the np-RNN of
    Talathi and Vartak 2015 (arXiv:1511.03771).
    """

    settings_type = RNNSettings
    equations = "h' = phi(W h + V x + b)"
    reference = 'Elman, "Finding Structure in Time", Cognitive Science 14(2), 1990'
    bibtex = """@article{elman1990finding,
  title = {Finding Structure in Time},
  author = {Elman, Jeffrey L.},
  journal = {Cognitive Science},
  volume = {14},
  number = {2},
  year = {1990},
}"""
    differs = (
        "Trained by backpropagation through all steps, with tanh for the logistic function. The "
        "papers behind the named starts of W draw V otherwise; the cell `elman` leaves that open."
    )
    count_formula = "n * n + n * m + n"
    search_ranges: ClassVar = {
        "training.optimizer.learning_rate": "{loguniform: [1e-5, 1e-2]}",
        "training.clip_norm": "{choice: [null, 1, 10]}",
        "recurrent_init": "{choice: [orthogonal, glorot, identity, henaff, chain]}",
        "recurrent_gain": "{uniform: [0.9, 1.05]}",
    }
    has_bias = True
    matrix_type = FreeMatrix

    @staticmethod
    def draw_input_weight(rows: int, input_size: int, generator: torch.Generator) -> Tensor:
        return glorot_uniform(rows, input_size, generator)


@dataclass(frozen=True, kw_only=True)
class IRNNSettings(ElmanSettings):
    """Settings of `IRNN`."""

    name: ClassVar[str] = "irnn"
    nonlinearity: Settings = component(NONLINEARITIES, ReLUSettings(), help="phi")
    identity_scale: float = setting(1.0, ge=0, help="W starts as the identity times this")


@final
class IRNN(ElmanCell[IRNNSettings]):
    """The simple recurrent network with rectifiers that starts by adding up its inputs.

    W starts as a multiple of the identity, V normal with deviation 0.001, b at 0. The authors train
    by gradient descent with clipping, at learning rates from 1e-8 to 1e-2, and use a multiple of
    0.01 where only short dependencies matter.
    """

    settings_type = IRNNSettings
    equations = "h' = phi(W h + V x + b), W = s I at first"
    reference = (
        'Le, Jaitly, Hinton, "A Simple Way to Initialize Recurrent Networks of Rectified Linear '
        'Units", arXiv:1504.00941'
    )
    bibtex = """@article{le2015irnn,
  title = {A Simple Way to Initialize Recurrent Networks of Rectified Linear Units},
  author = {Le, Quoc V. and Jaitly, Navdeep and Hinton, Geoffrey E.},
  journal = {arXiv:1504.00941},
  year = {2015},
}"""
    differs = (
        "Nothing is clipped unless training is told to. The comparison of Arjovsky et al. 2016 "
        "learns h0 (initial_state: learned) and clips gradients elementwise to +-1."
    )
    count_formula = "n * n + n * m + n"
    search_ranges: ClassVar = {
        "training.optimizer.learning_rate": "{loguniform: [1e-8, 1e-2]}",
        "training.clip_norm": "{choice: [null, 1, 10, 100]}",
        "identity_scale": "{uniform: [0.01, 1]}",
    }
    has_bias = True
    matrix_type = FreeMatrix

    @classmethod
    def matrix_settings(cls, settings: IRNNSettings) -> FreeSettings:
        return FreeSettings(
            recurrent_init="identity",
            recurrent_gain=settings.identity_scale,
            learning_rate_ratio=settings.learning_rate_ratio,
            recurrent_optimizer=settings.recurrent_optimizer,
        )

    @staticmethod
    def draw_input_weight(rows: int, input_size: int, generator: torch.Generator) -> Tensor:
        return 0.001 * torch.randn(rows, input_size, generator=generator)
