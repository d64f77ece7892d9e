"""What `TrialRun` needs of whatever trains its trial; without torch."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from longhaul_trainers.training.point import Divergence, Point

Checkpoint = Mapping[str, bytes]
"""The files of a checkpoint by name."""


@dataclass(frozen=True)
class TrialOutcome:
    """What a trial that ran all its steps leaves.

    Attributes:
        weights: those that validated best, in safetensors format.
        result: the content of ``result.json``.
    """

    weights: bytes
    result: Mapping[str, Any]


class Training(Protocol):
    """One trial being trained, in this process or elsewhere."""

    @property
    def divergence(self) -> Divergence | None:
        """How the trial diverged; None while it has not."""
        ...

    def train(
        self, until: int, checkpoint_every_s: float
    ) -> Iterator[tuple[Point, Checkpoint | None]]:
        """Trains on, and yields the points of the curve.

        A point comes with a checkpoint of exactly that moment at the end, unless the trial
        diverged, and whenever so many seconds have passed since the last one.

        Args:
            until: step count at which to end.
            checkpoint_every_s: seconds between checkpoints.
        """
        ...

    def outcome(self) -> TrialOutcome:
        """What the trial leaves, once it has run all its steps."""
        ...
