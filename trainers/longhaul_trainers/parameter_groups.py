"""Which parameters of a model share a learning rate, a decay and an optimiser."""

from dataclasses import dataclass
from typing import Literal

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
        optimizer: name of another optimiser for this group, or None for the trial's own.
    """

    name: str
    parameters: tuple[nn.Parameter, ...]
    learning_rate_ratio: Tensor
    decay: bool = True
    optimizer: Literal["adam", "adamw", "rmsprop", "sgd"] | None = None
