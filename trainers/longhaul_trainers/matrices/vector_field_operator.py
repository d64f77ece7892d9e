"""W = exp(D), D a learned directional derivative: fields, gradients and inner product."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import torch
from torch import Tensor, nn

from longhaul_trainers.matrices.base import RecurrentMatrix, RecurrentSettings
from longhaul_trainers.matrices.general_exponential import general_exponential
from longhaul_trainers.matrices.skew_init import draw_skew
from longhaul_trainers.matrices.vector_field import REFERENCE, VectorFieldSettings
from longhaul_trainers.parameter_groups import ParameterGroup
from longhaul_trainers.settings import setting
from longhaul_trainers.slots import slot_vector


@dataclass(frozen=True, kw_only=True)
class OperatorFieldSettings(VectorFieldSettings):
    """Number of coordinates and form of the derivative."""

    name: ClassVar[str] = "vector_field_operator"
    directions: int = setting(
        2, ge=1, structural=True, help="coordinate functions d, that is components of the field"
    )
    field_form: Literal["split", "advective"] = setting(
        "split",
        structural=True,
        help="derivative: a part skew to the last bit and the divergence, or v . grad as it stands",
    )


@final
class OperatorField(RecurrentMatrix):
    """W = M^1/2 exp(D) M^-1/2, D the directional derivative along a learned field of d components.

    y_i is the i-th component of the field at each of the k units (the derivative of the i-th
    coordinate function along it), G_i the learned matrix of the partial derivative, and M a learned
    diagonal inner product, M = exp(mu). Then grad f = (G_1 f, ..., G_d f), and the divergence is
    minus its adjoint, div v = -M^-1 sum_i G_i^T M y_i. The state holds a function's coordinates in
    an orthonormal basis: with M = I, where it starts, W = exp(D).

    ``advective``: D = sum_i diag(y_i) G_i, d k^2 numbers for every k by k matrix. But learned G_i
    obey no product rule, on which the whole correspondence rests: D may be skew and the divergence
    not 0, and the other way round. No divergence means no more than that sum(M f) is conserved.

    ``split`` (default): D = sum_i (diag(y_i) G_i - M^-1 G_i^T M diag(y_i)) / 2 - diag(div v) / 2.
    Under the product rule that is the same operator; here it makes skewness and the absence of
    divergence one thing, whatever G_i are. So W is orthogonal exactly if div v = 0, and with
    c = -(div v) / 2 its determinant is exp(sum c) and its singular values are within exp(min c)
    and exp(max c).

    The penalty is ``divergence_penalty`` times sum (div v / 2)^2 in both forms; only with ``split``
    it leads to an orthogonal W.

    It starts orthogonal with the D that ``skew_init`` draws: y uniform on the unit spheres of the
    units' d components, G_i = diag(y_i) S, in split form diag(y_i) (S + diag(S 1)), without
    divergence.

    One group, ``recurrent``, with a decay of its own.
    """

    settings_type = OperatorFieldSettings
    formula = (
        "W = M^1/2 exp(D) M^-1/2, M = diag(exp(mu)), div v = -M^-1 sum_i G_i^T M y_i, "
        "D = sum_i (diag(y_i) G_i - M^-1 G_i^T M diag(y_i)) / 2 - diag(div v) / 2, "
        "or advective: D = sum_i diag(y_i) G_i"
    )
    reference = REFERENCE
    divergence_penalty: Tensor

    def __init__(
        self,
        hidden_size: int,
        slots: Sequence[OperatorFieldSettings],
        generators: Sequence[torch.Generator],
    ) -> None:
        super().__init__(hidden_size, slots, generators)
        self.settings = tuple(slots)
        pairs = zip(slots, generators, strict=True)
        drawn = [_draw(hidden_size, slot, generator) for slot, generator in pairs]
        self.field = nn.Parameter(torch.stack([y for y, _ in drawn]))
        self.gradient = nn.Parameter(torch.stack([G for _, G in drawn]))
        self.log_mass = nn.Parameter(torch.zeros(len(slots), hidden_size))
        penalties = slot_vector(slots, lambda slot: slot.divergence_penalty)
        self.register_buffer("divergence_penalty", penalties)

    @classmethod
    def parameter_count(cls, hidden_size: int, settings: RecurrentSettings) -> int:
        if not isinstance(settings, OperatorFieldSettings):
            raise TypeError(f"expected settings of a vector field, found {settings!r}")
        return settings.directions * hidden_size * (hidden_size + 1) + hidden_size

    def matrix(self) -> Tensor:
        # One slot at a time: how often a matrix is halved depends on its own norm.
        return torch.stack([general_exponential(self._generator(*slot)) for slot in self._slots()])

    def _slots(self) -> list[tuple[Tensor, Tensor, Tensor]]:
        return list(zip(self.field, self.gradient, self.log_mass, strict=True))

    def _generator(self, field: Tensor, gradient: Tensor, log_mass: Tensor) -> Tensor:
        """M^1/2 D M^-1/2 of one slot, (H, H)."""
        root = (log_mass / 2).exp()
        advection = (field.unsqueeze(2) * gradient).sum(0) * (root.unsqueeze(1) / root)
        if self.settings[0].field_form == "advective":
            return advection
        half_divergence = _half_divergence(field, gradient, log_mass)
        return (advection - advection.mT) / 2 - half_divergence.diag()

    def divergence(self) -> Tensor:
        """The divergence div v of every slot at each unit, shape (P, H)."""
        return torch.stack([2 * _half_divergence(*slot) for slot in self._slots()])

    def parameter_groups(self) -> list[ParameterGroup]:
        ratios = slot_vector(self.settings, lambda slot: slot.learning_rate_ratio)
        return [
            ParameterGroup(
                name="recurrent",
                parameters=(self.field, self.gradient, self.log_mass),
                learning_rate_ratio=ratios,
                weight_decay=slot_vector(self.settings, lambda slot: slot.field_decay),
                optimizer=self.settings[0].recurrent_optimizer,
            )
        ]

    def penalty(self) -> Tensor | None:
        """The term ``divergence_penalty`` times sum (div v / 2)^2."""
        sums = [_half_divergence(*slot).square().sum() for slot in self._slots()]
        return self.divergence_penalty * torch.stack(sums)


def _half_divergence(field: Tensor, gradient: Tensor, log_mass: Tensor) -> Tensor:
    mass = log_mass.exp()
    flux = gradient.mT @ (mass * field).unsqueeze(2)
    return -flux.sum(0).squeeze(1) / (2 * mass)


def _draw(
    size: int, slot: OperatorFieldSettings, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """One slot's y, shape (d, H), and G, shape (d, H, H)."""
    rows, columns = torch.triu_indices(size, size, offset=1)
    S = torch.zeros(size, size)
    S[rows, columns] = draw_skew(slot.skew_init, size, generator)
    S = S - S.mT
    y = torch.randn(slot.directions, size, generator=generator)
    y = y / torch.linalg.vector_norm(y, dim=0)
    if slot.field_form == "split":
        S = S + S.sum(1).diag()
    return y, y.unsqueeze(2) * S
