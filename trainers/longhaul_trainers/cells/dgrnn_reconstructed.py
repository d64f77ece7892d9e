"""Reconstructions of DGRNN: a recurrent matrix that is the flow of a vector field on functions."""

from dataclasses import dataclass, fields
from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from longhaul_trainers.catalogue import NONLINEARITIES
from longhaul_trainers.cells.elman import ElmanCell, ElmanSettings
from longhaul_trainers.errors import SettingError
from longhaul_trainers.initialisation import kaiming_normal
from longhaul_trainers.matrices.base import RecurrentMatrix, RecurrentSettings
from longhaul_trainers.matrices.vector_field_diagonal import (
    DiagonalField,
    DiagonalFieldSettings,
)
from longhaul_trainers.matrices.vector_field_metric import MetricField
from longhaul_trainers.matrices.vector_field_operator import (
    OperatorField,
    OperatorFieldSettings,
)
from longhaul_trainers.nonlinearities import ModReLUSettings
from longhaul_trainers.settings import Settings, component, setting

_VARIANTS: dict[str, type[RecurrentMatrix]] = {
    "diagonal": DiagonalField,
    "metric": MetricField,
    "fields": OperatorField,
}


@dataclass(frozen=True, kw_only=True)
class DGRNNReconstructedSettings(DiagonalFieldSettings, OperatorFieldSettings, ElmanSettings):
    """Settings of `DGRNNReconstructed`; the values are ours, none is published."""

    name: ClassVar[str] = "dgrnn_reconstructed"
    variant: Literal["diagonal", "metric", "fields"] = setting(
        "diagonal",
        structural=True,
        help="what W is: a divergence at each unit, another inner product, or fields and gradients",
    )
    nonlinearity: Settings = component(NONLINEARITIES, ModReLUSettings(), help="phi")

    def check(self) -> None:
        super().check()
        if self.margin is not None and self.variant != "diagonal":
            found = f"found {self.margin:g} with variant {self.variant}, which has no such bound"
            raise SettingError("margin", f"{found}; expected null, or variant diagonal")


@final
class DGRNNReconstructed(ElmanCell[DGRNNReconstructedSettings]):
    """A reconstruction, in three variants, of the recurrent model of Azencot et al. 2021 (DGRNN).

    Known from the paper, whose body and program were not at hand: orthogonal recurrent networks
    optimise over vector fields without divergence, as every such field belongs to a skew-symmetric
    matrix; the new model spans all vector fields; it takes them as directional derivatives of
    scalar functions, which needs a latent inner product, gradient and divergence. Ours is
    everything else: the equations below, initial values, defaults, ranges. Do not report results
    of this cell as those of DGRNN.

    The hidden state is a function, and W = exp(D) moves it along a field v, D f = v . grad f. The
    part of D that is not skew is given by c = -(div v) / 2. With the penalty the model goes over
    continuously into the orthogonal one of expRNN, as nnRNN does with its delta.

    ``diagonal``: D = S + diag(c). det W = exp(sum c), singular values within exp(min c) and
    exp(max c); ``margin`` bounds |c| by log(1 + m). The cheapest, n numbers more than expRNN.

    ``metric``: D is skew in a learned inner product L L^T: eigenvalues on the unit circle, W not
    normal. Here the penalty draws L to the identity.

    ``fields``: D is made of a learned field, learned partial derivatives and a learned diagonal
    inner product, the closest to the abstract. Of two forms the default, ``field_form: split``, has
    skewness and the absence of divergence coincide, as the theory wants; ``advective``, the plain
    v . grad, reaches every D, but learned derivatives obey no product rule, so that its divergence
    does not say how far W is from orthogonal, and the penalty does not lead there.

    All variants start orthogonal as expRNN does. V starts Kaiming normal for a rectifier, modReLU's
    bias uniform on ±0.01, h0 = 0. S has ``learning_rate_ratio``, what departs from it
    ``field_learning_rate_ratio`` and the decay ``field_decay``; in ``fields`` everything that makes
    W has the first and that decay.
    """

    settings_type = DGRNNReconstructedSettings
    equations = (
        "h' = phi(W h + V x)\n"
        "diagonal: W = exp(S + diag(c)), S = X - X^T, X strictly upper triangular\n"
        "metric: W = L^-T exp(S) L^T, L lower triangular with a positive diagonal\n"
        "fields: W = M^1/2 exp(D) M^-1/2, M = diag(exp(mu)), div v = -M^-1 sum_i G_i^T M y_i\n"
        "  split: D = sum_i (diag(y_i) G_i - M^-1 G_i^T M diag(y_i)) / 2 - diag(div v) / 2\n"
        "  advective: D = sum_i diag(y_i) G_i\n"
        "loss = task loss + lambda sum c^2, c = -(div v) / 2\n"
        "  metric: task loss + lambda (sum_{i>j} L_ij^2 + sum_i (log L_ii)^2)"
    )
    reference = (
        "reconstructed after Azencot, Erichson, Ben-Chen, Mahoney, "
        '"A Differential Geometry Perspective on Orthogonal Recurrent Models", arXiv:2102.09589'
    )
    bibtex = """@misc{azencot2021differential,
  title = {A Differential Geometry Perspective on Orthogonal Recurrent Models},
  author = {Azencot, Omri and Erichson, N. Benjamin and Ben-Chen, Mirela and Mahoney, Michael W.},
  year = {2021},
  eprint = {2102.09589},
  archivePrefix = {arXiv},
}"""
    differs = (
        "This is not the published model but three readings of its abstract and introduction: "
        "the paper's equations, sizes, initial values, optimiser, tasks and results were not at "
        "hand, and there is no public program. Its name says so wherever results are shown."
    )
    count_formula = "n * (n - 1) // 2 + n + n * m + n"
    search_ranges: ClassVar = {
        "training.optimizer.learning_rate": "{loguniform: [1e-4, 1e-2]}",
        "learning_rate_ratio": "{loguniform: [0.01, 1]}",
        "field_learning_rate_ratio": "{loguniform: [0.01, 1]}",
        "field_decay": "{choice: [0.0, 1e-6, 1e-5, 1e-4]}",
        "divergence_penalty": "{choice: [0.0, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0]}",
        "margin": "{choice: [null, 0.01, 0.1, 1.0]}",
        "skew_init": "{choice: [henaff, cayley, random]}",
        "variant": "{choice: [diagonal, metric, fields]}",
    }
    has_bias = False

    @classmethod
    def matrix_of(cls, settings: DGRNNReconstructedSettings) -> type[RecurrentMatrix]:
        return _VARIANTS[settings.variant]

    @classmethod
    def matrix_settings(cls, settings: DGRNNReconstructedSettings) -> RecurrentSettings:
        wanted = cls.matrix_of(settings).settings_type
        return wanted(**{one.name: getattr(settings, one.name) for one in fields(wanted)})

    @staticmethod
    def draw_input_weight(rows: int, input_size: int, generator: torch.Generator) -> Tensor:
        return kaiming_normal(rows, input_size, generator)
