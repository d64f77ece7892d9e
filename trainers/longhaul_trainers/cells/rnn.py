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

    V starts Glorot uniform, b at 0; W as ``recurrent_init`` says. With ``orthogonal`` this is the
    orthogonally initialised RNN of Henaff et al. 2016 (arXiv:1602.06662).
    """

    settings_type = RNNSettings
    equations = "h' = phi(W h + V x + b)"
    reference = 'Elman, "Finding Structure in Time", Cognitive Science 14(2), 1990'
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

    W starts as a multiple of the identity, V normal with deviation 0.001, b at 0.

    Differs from the paper: nothing is clipped unless training is told to.
    """

    settings_type = IRNNSettings
    equations = "h' = phi(W h + V x + b), W = s I at first"
    reference = (
        'Le, Jaitly, Hinton, "A Simple Way to Initialize Recurrent Networks of Rectified Linear '
        'Units", arXiv:1504.00941'
    )
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
