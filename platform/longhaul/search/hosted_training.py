"""A trial that trains in a slot of a pack, in another process; without torch."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from longhaul.errors import LonghaulError
from longhaul.search.training import Checkpoint, TrialOutcome
from longhaul_trainers.training.point import Divergence, Point

POLL_S = 5.0
"""How long a question to the host waits for news."""


class PackHostDiedError(LonghaulError):
    """The process that trained the trial's pack is gone."""


class HostedTrialError(LonghaulError):
    """The trial's training failed; the message is the traceback in the host."""


@dataclass(frozen=True)
class News:
    """What a host tells of one trial.

    Attributes:
        point: the next point of its curve, if there is one.
        checkpoint: of exactly that moment, where one was due.
        over: whether the trial is where it was to be trained to, diverged, or failed.
        divergence: how it diverged.
        outcome: what it leaves, after its last step.
        error: the traceback if it failed.
    """

    point: Point | None = None
    checkpoint: Checkpoint | None = None
    over: bool = False
    divergence: Divergence | None = None
    outcome: TrialOutcome | None = None
    error: str | None = None


class HostedTraining:
    """See `longhaul.search.training.Training`.

    The host keeps nothing for a trial that has come to the end of a stretch: the next stretch
    begins with the checkpoint that came with the last one's end.

    Args:
        host: a handle of an actor `longhaul.search.host_actor.PackHostActor`.
        number: the trial's number.
        config: its configuration as plain mappings.
        checkpoint: where it stands; None where it begins.
    """

    def __init__(
        self, host: Any, number: int, config: Mapping[str, Any], checkpoint: Checkpoint | None
    ) -> None:
        self._host = host
        self._number = number
        self._config = dict(config)
        self._checkpoint = checkpoint
        self._outcome: TrialOutcome | None = None
        self.divergence: Divergence | None = None

    def train(
        self, until: int, checkpoint_every_s: float
    ) -> Iterator[tuple[Point, Checkpoint | None]]:
        """See `Training.train`."""
        ticket = None
        while True:
            if ticket is None:
                ticket = _answer(
                    self._host.take_on.remote(
                        self._number, self._config, until, self._checkpoint, checkpoint_every_s
                    )
                )
            told: list[News] | None = _answer(self._host.news.remote(ticket, POLL_S))
            if told is None:
                # The host was restarted, or has given this trial up for dead: once more, from the
                # last checkpoint. The points since then come again.
                ticket = None
                continue
            for news in told:
                if news.error is not None:
                    raise HostedTrialError(news.error)
                self._checkpoint = news.checkpoint or self._checkpoint
                self.divergence, self._outcome = news.divergence, news.outcome
                if news.point is not None:
                    yield news.point, news.checkpoint
                if news.over:
                    return

    def outcome(self) -> TrialOutcome:
        """See `Training.outcome`."""
        if self._outcome is None:
            raise RuntimeError("the trial has not run all its steps")
        return self._outcome


def describe_host(host: Any) -> dict[str, Any]:
    """The environment of a host, as the ledger keeps it."""
    return dict(_answer(host.environment.remote()))


def _answer(reference: Any) -> Any:
    # imported here: this module is light
    import ray
    from ray.exceptions import RayActorError

    try:
        return ray.get(reference)
    except RayActorError as error:
        raise PackHostDiedError(
            "the process that trained this trial's pack died; the trial's last checkpoint is kept"
        ) from error
