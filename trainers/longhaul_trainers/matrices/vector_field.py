"""What recurrent matrices made of a vector field share: W is the flow of a field on functions.

The hidden state is a function in a space of k dimensions with an inner product M. A vector field v
acts on functions f by the directional derivative D f = v . grad f, and W = exp(D) carries them
along v for one unit of time. Divergence is minus the adjoint of the gradient, and the product rule
then says

    M D + D^T M = -M diag(div v):

D is skew in the inner product, and W orthogonal, exactly if v is free of divergence. With
c = -(div v) / 2 the part of D that is not skew is diag(c).

Reference: Azencot, Erichson, Ben-Chen, Mahoney, "A Differential Geometry Perspective on Orthogonal
Recurrent Models", arXiv:2102.09589, of which only abstract and introduction were at hand: the
matrices below are reconstructions. Operators: Azencot, Ben-Chen, Chazal, Ovsjanikov, "An Operator
Approach to Tangent Vector Field Processing", Computer Graphics Forum 32(5), 2013.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from longhaul_trainers.matrices.skew import SkewSettings
from longhaul_trainers.parameter_groups import ParameterGroup
from longhaul_trainers.settings import setting
from longhaul_trainers.slots import slot_vector

REFERENCE = (
    "after Azencot, Erichson, Ben-Chen, Mahoney, "
    '"A Differential Geometry Perspective on Orthogonal Recurrent Models", arXiv:2102.09589'
)


@dataclass(frozen=True, kw_only=True)
class VectorFieldSettings(SkewSettings):
    """How much a field may depart from one without divergence; all may differ inside a pack."""

    divergence_penalty: float = setting(
        0.0, ge=0, help="factor of the penalty on the departure from an orthogonal W"
    )
    field_decay: float = setting(
        0.0, ge=0, help="weight decay of the field alone, in place of training's"
    )


@dataclass(frozen=True, kw_only=True)
class DepartureSettings(VectorFieldSettings):
    """Those of a rotation and of what departs from it."""

    field_learning_rate_ratio: float = setting(
        0.1, gt=0, help="learning rate of what departs from S, as a multiple of the trial's"
    )


def departure_group(
    slots: Sequence[DepartureSettings], parameters: Sequence[nn.Parameter]
) -> ParameterGroup:
    """The group ``field``, with its own learning rate and decay and the optimiser of S."""
    return ParameterGroup(
        name="field",
        parameters=tuple(parameters),
        learning_rate_ratio=slot_vector(slots, lambda slot: slot.field_learning_rate_ratio),
        weight_decay=slot_vector(slots, lambda slot: slot.field_decay),
        optimizer=slots[0].recurrent_optimizer,
    )
