"""Which parameters of a model share a learning rate, a decay and an optimiser."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that one optimiser steps alike. All carry a leading pack dimension P.

    Attributes:
        name: ``recurrent`` for what makes the recurrent matrix, ``main`` for the rest; a cell may
            name further groups.
        parameters: each of shape (P, ...).
        learning_rate_ratio: shape (P,); the group's learning rate is the trial's times this.
        decay: whether the trial's weight decay applies.
        weight_decay: shape (P,), a decay of the group's own in place of the trial's; None: as
            ``decay`` says. It acts as the optimiser's own decay does: added to the gradient except
            under AdamW.
        optimizer: name of another optimiser for this group, of the catalogue ``OPTIMIZERS`` or
            ``MANIFOLD_OPTIMIZERS``, or None for the trial's own.
        options: further settings of that other optimiser, one mapping a slot; None: its defaults.
    """

    name: str
    parameters: tuple[nn.Parameter, ...]
    learning_rate_ratio: Tensor
    decay: bool = True
    weight_decay: Tensor | None = None
    optimizer: str | None = None
    options: tuple[Mapping[str, Any], ...] | None = None
