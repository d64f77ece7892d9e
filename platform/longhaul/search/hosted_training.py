"""A trial that trains in a slot of a pack, in another process; without torch."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from longhaul.errors import LonghaulError
from longhaul.search.training import Checkpoint, TrialOutcome
from longhaul_trainers.training.point import Divergence, Point

POLL_S = 5.0
"""How long a question to the host waits for news."""
HOST_DEATHS = 3
"""So many deaths of its host in a row, without a checkpoint between them, fail a trial."""
RESTART_S = 120.0
"""How long to wait for a host that Ray starts again."""


class PackHostDiedError(LonghaulError):
    """The process that trained the trial's pack is gone."""


class HostSilentError(PackHostDiedError):
    """It is not gone, but stopped or stuck."""


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
        apart: whether its pack hung, and it is to be handed in again to train by itself.
    """

    point: Point | None = None
    checkpoint: Checkpoint | None = None
    over: bool = False
    divergence: Divergence | None = None
    outcome: TrialOutcome | None = None
    error: str | None = None
    apart: bool = False


@dataclass(frozen=True)
class Patience:
    """How a trial waits for its host.

    Attributes:
        deadline_s: how long the host may be busy with one step, and so how long beyond that an
            answer may take; None: for ever.
        alive: called whenever the host has answered.
    """

    deadline_s: float | None = None
    alive: Callable[[], None] = lambda: None


class HostedTraining:
    """See `longhaul.search.training.Training`.

    The host keeps nothing for a trial that has come to the end of a stretch: the next stretch
    begins with the checkpoint that came with the last one's end. So does one whose host died: most
    often by the fault of another trial, or of none.

    Args:
        host: a handle of an actor `longhaul.search.host_actor.PackHostActor`.
        number: the trial's number.
        config: its configuration as plain mappings.
        checkpoint: where it stands; None where it begins.
        patience: how it waits for the host.
    """

    def __init__(
        self,
        host: Any,
        number: int,
        config: Mapping[str, Any],
        checkpoint: Checkpoint | None,
        patience: Patience = Patience(),
    ) -> None:
        self._host = host
        self._number = number
        self._config = dict(config)
        self._checkpoint = checkpoint
        self._patience = patience
        self._apart = False
        self._outcome: TrialOutcome | None = None
        self.divergence: Divergence | None = None

    def train(
        self, until: int, checkpoint_every_s: float
    ) -> Iterator[tuple[Point, Checkpoint | None]]:
        """See `Training.train`."""
        ticket, deaths = None, 0
        while True:
            try:
                if ticket is None:
                    ticket = self._hand_in(until, checkpoint_every_s)
                told = self._ask(self._host.news.remote(ticket, POLL_S))
            except PackHostDiedError:
                deaths += 1
                if deaths >= HOST_DEATHS:
                    raise
                ticket = None
                with suppress(PackHostDiedError):
                    describe_host(self._host, self._patience)
                continue
            if told is None:
                # The host was restarted, or has given this trial up for dead: once more, from the
                # last checkpoint. The points since then come again.
                ticket = None
                continue
            for news in told:
                if news.error is not None:
                    raise HostedTrialError(news.error)
                if news.apart:
                    self._apart, ticket = True, None
                    break
                if news.checkpoint is not None:
                    self._checkpoint, deaths = news.checkpoint, 0
                self.divergence, self._outcome = news.divergence, news.outcome
                if news.point is not None:
                    yield news.point, news.checkpoint
                if news.over:
                    return

    def _hand_in(self, until: int, checkpoint_every_s: float) -> str:
        asked = (self._number, self._config, until, self._checkpoint, checkpoint_every_s)
        return str(self._ask(self._host.take_on.remote(*asked, self._apart)))

    def _ask(self, question: Any) -> Any:
        try:
            return _answer(question, self._patience)
        except HostSilentError:
            _end_if_silent(self._host, self._patience)
            raise

    def outcome(self) -> TrialOutcome:
        """See `Training.outcome`."""
        if self._outcome is None:
            raise RuntimeError("the trial has not run all its steps")
        return self._outcome


def describe_host(host: Any, patience: Patience = Patience()) -> dict[str, Any]:
    """The environment of a host, as the ledger keeps it; waits for its start, and for Ray's next.

    Raises:
        PackHostDiedError: it died, and Ray has not started it again for `RESTART_S`.
    """
    deadline = time.monotonic() + RESTART_S
    while True:
        try:
            return dict(_answer(host.environment.remote(), patience, RESTART_S))
        except PackHostDiedError:
            if time.monotonic() >= deadline:
                raise
            patience.alive()
            time.sleep(1.0)


def _answer(reference: Any, patience: Patience, least_s: float = POLL_S) -> Any:
    # imported here: this module is light
    import ray
    from ray.exceptions import GetTimeoutError, OutOfMemoryError, RayActorError

    limit, waited = patience.deadline_s, 0.0
    part = POLL_S if limit is None else min(POLL_S, limit / 4)
    while True:
        try:
            answer = ray.get(reference, timeout=part)
        except (RayActorError, OutOfMemoryError) as error:
            raise PackHostDiedError(
                "the process that trained this trial's pack died; its last checkpoint is kept"
            ) from error
        except GetTimeoutError as error:
            patience.alive()
            waited += part
            if limit is not None and waited >= limit + least_s:
                raise HostSilentError(
                    f"the process that trained this trial's pack gave no answer for {waited:g} s "
                    "(search.report_deadline_s); the trial's last checkpoint is kept"
                ) from error
        else:
            patience.alive()
            return answer


def _end_if_silent(host: Any, patience: Patience) -> None:
    """Has Ray start a host again, unless it answers: another trial may have seen to it."""
    import ray

    brief = Patience(1.0, patience.alive)
    try:
        _answer(host.environment.remote(), brief)
    except HostSilentError:
        ray.kill(host, no_restart=False)
    except PackHostDiedError:
        return  # on its way
