"""What every recurrent matrix answers."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from longhaul_trainers.parameter_groups import ParameterGroup
from longhaul_trainers.settings import Settings, setting
from longhaul_trainers.slots import slot_vector


@dataclass(frozen=True, kw_only=True)
class RecurrentSettings(Settings):
    """What every cell with a recurrent matrix has."""

    learning_rate_ratio: float = setting(
        1.0, gt=0, help="learning rate of the recurrent matrix, as a multiple of the trial's"
    )
    recurrent_optimizer: Literal["adam", "adamw", "rmsprop", "sgd"] | None = setting(
        None, structural=True, help="optimiser of the recurrent matrix; null: the trial's own"
    )


def recurrent_group(
    slots: Sequence[RecurrentSettings], parameters: Sequence[nn.Parameter], decay: bool
) -> ParameterGroup:
    """The group ``recurrent`` with the learning-rate ratios and optimiser of the settings."""
    return ParameterGroup(
        name="recurrent",
        parameters=tuple(parameters),
        learning_rate_ratio=slot_vector(slots, lambda slot: slot.learning_rate_ratio),
        decay=decay,
        optimizer=slots[0].recurrent_optimizer,
    )


class RecurrentMatrix(nn.Module, ABC):
    """Makes the hidden-to-hidden matrices W of a pack from free parameters.

    It answers five questions: the matrix, its parameter groups, what happens after a step, its
    penalty, its diagnostics. Everything acts on each slot alone: no reduction, solver or scheme
    may look across the pack, or a trial's bits would depend on its neighbours.

    Args:
        hidden_size: H, the number of hidden units; a complex unit counts once.
        slots: settings of each of the P slots, instances of ``settings_type`` or of a cell's
            settings that derive from it.
        generators: one CPU generator a slot, from which that slot's parameters are drawn.

    A subclass sets ``settings_type`` and ``formula`` and may set ``reference``.
    """

    settings_type: ClassVar[type[RecurrentSettings]]
    formula: ClassVar[str]
    """W in terms of its parameters, plain text."""
    reference: ClassVar[str] = ""
    """Authors, title, venue, arXiv number."""

    def __init__(
        self,
        hidden_size: int,
        slots: Sequence[RecurrentSettings],
        generators: Sequence[torch.Generator],
    ) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.slots = tuple(slots)

    @classmethod
    @abstractmethod
    def parameter_count(cls, hidden_size: int, settings: RecurrentSettings) -> int:
        """Number of trainable parameters of one slot, by formula."""

    @classmethod
    def check_size(cls, hidden_size: int, settings: RecurrentSettings) -> None:
        """Refuses a number of hidden units, by default where `parameter_count` does.

        Raises:
            SettingError: with the path of what is at fault, ``hidden_size`` or a setting.
        """
        cls.parameter_count(hidden_size, settings)

    @classmethod
    def state_size(cls, hidden_size: int, settings: RecurrentSettings) -> int:
        """Number of rows of W: H, or 2H for a complex matrix [[Re, -Im], [Im, Re]]."""
        return hidden_size

    @abstractmethod
    def matrix(self) -> Tensor:
        """W of every slot, shape (P, N, N), differentiable; called once per iteration.

        N is H, or 2H for a complex matrix.

        The scan computes ``h' = phi(W h + ...)`` for column vectors h.
        """

    @abstractmethod
    def parameter_groups(self) -> list[ParameterGroup]:
        """The groups of all its parameters."""

    def after_step(self) -> None:
        """Rebases, clamps or renormalises after the optimiser's step; does nothing by default."""

    def penalty(self) -> Tensor | None:
        """A term (P,) that training adds to the task loss and logs apart; None: there is none."""
        return None

    @torch.no_grad()
    def diagnostics(self) -> dict[str, Tensor]:
        """Float64 numbers (P,) to log under ``recurrent/``.

        ``orthogonality_error`` is the Frobenius norm of W^T W - I, ``spectral_radius`` the largest
        modulus of an eigenvalue, ``singular_value_min`` and ``singular_value_max`` the range of
        singular values, ``departure_from_normality`` Henrici's sqrt(|W|_F^2 - sum |lambda|^2).
        A slot whose matrix is not finite gets NaN everywhere.
        """
        per_slot = [_matrix_diagnostics(matrix) for matrix in self.matrix().double()]
        return {name: torch.stack([one[name] for one in per_slot]) for name in per_slot[0]}


_DIAGNOSTICS = (
    "orthogonality_error",
    "spectral_radius",
    "singular_value_min",
    "singular_value_max",
    "departure_from_normality",
)


def _matrix_diagnostics(matrix: Tensor) -> dict[str, Tensor]:
    if not bool(torch.isfinite(matrix).all()):
        return {name: matrix.new_tensor(float("nan")) for name in _DIAGNOSTICS}
    identity = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    moduli = torch.linalg.eigvals(matrix).abs()
    singular = torch.linalg.svdvals(matrix)
    excess = matrix.square().sum() - moduli.square().sum()
    return {
        "orthogonality_error": torch.linalg.matrix_norm(matrix.mT @ matrix - identity),
        "spectral_radius": moduli.max(),
        "singular_value_min": singular.min(),
        "singular_value_max": singular.max(),
        "departure_from_normality": excess.clamp(min=0).sqrt(),
    }
