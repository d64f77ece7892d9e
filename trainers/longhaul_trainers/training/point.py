"""What training says of a trial, in plain numbers; without torch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Divergence:
    """How a trial left the numbers that mean something.

    Attributes:
        step: the training step that diverged, counted from 1.
        reason: what was seen.
    """

    step: int
    reason: str


@dataclass(frozen=True)
class Point:
    """One point of a trial's curve.

    Attributes:
        step: training steps done.
        metrics: by their full names, for example ``valid/loss``.
    """

    step: int
    metrics: dict[str, float]
