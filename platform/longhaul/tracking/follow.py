"""The loop of the background writer: look, deliver, wait, and never let a failure out."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from longhaul.redaction import redact
from longhaul.tracking.lag import Lag
from longhaul.tracking.replay import Counts, Replay
from longhaul.tracking.retry import Backoff

if TYPE_CHECKING:
    from longhaul.ledger import Ledger

LOG = logging.getLogger(__name__)

POLL_S = 1.0
CURVES_EVERY_S = 10.0
BUSY_SHARE = 20.0
"""Curves of running trials are looked at so seldom that it takes at most 1/20 of the time."""


@dataclass(frozen=True)
class Ending:
    """How a follower learns that nothing more will come.

    Attributes:
        ended: set when the search's driver is gone, or done.
        deadline_s: how long to go on trying then, seconds.
    """

    ended: threading.Event
    deadline_s: Callable[[], float]


def follow(
    ledger: "Ledger",
    replay: Replay,
    ending: Ending | None = None,
    say_lag: Callable[[Lag], None] = lambda lag: None,
    backoff: Backoff | None = None,
) -> Lag:
    """Delivers what the ledger gets until the search has ended.

    Args:
        ledger: the search.
        replay: brings it to MLflow.
        ending: tells when the driver is gone; None: when the ledger says that nobody works on it.
        say_lag: called with the lag after each trial and each round.
        backoff: how to wait after a failure.

    Returns:
        What could not be delivered by the end.
    """
    backoff = backoff or Backoff()
    never = threading.Event()
    ended = ending.ended if ending else never
    deadline: float | None = None
    curves_at = 0.0
    reporter = _Reporter()
    moved = replay.moved
    while True:
        last = ended.is_set() or (ending is None and ledger.record().state != "running")
        if last and deadline is None:
            deadline = time.monotonic() + (ending.deadline_s() if ending else float("inf"))
        expired = deadline is not None and time.monotonic() > deadline
        try:
            began = time.monotonic()
            replay.refresh(curves=last or began >= curves_at)
            if last:
                replay.set_searching(False)
            replay.deliver(
                stop=never.is_set if last else ended.is_set,
                tell=lambda: _say(say_lag, replay.lag(None)),
            )
            if began >= curves_at:
                curves_at = began + max(CURVES_EVERY_S, BUSY_SHARE * (time.monotonic() - began))
            problem, wait_s = None, POLL_S
            backoff.reset()
            reporter.recovered()
        except Exception as error:
            if replay.moved != moved:
                backoff.reset()
            problem, wait_s = reporter.report(error), backoff.next_s()
        moved = replay.moved
        lag = replay.lag(problem)
        _say(say_lag, lag)
        if last and (expired or (problem is None and replay.delivered)):
            return lag
        if deadline is not None:
            wait_s = min(wait_s, max(0.05, deadline - time.monotonic()))
        # Where the driver has ended meanwhile, the last round begins at once.
        (never if last else ended).wait(wait_s)


def deliver_once(
    ledger: "Ledger",
    replay: Replay,
    timeout_s: float,
    say: Callable[[Lag, Counts], None] = lambda lag, counts: None,
    backoff: Backoff | None = None,
) -> Lag:
    """Delivers what the ledger has now.

    Args:
        ledger: the search.
        replay: brings it to MLflow.
        timeout_s: gives up when nothing moved for so long, seconds.
        say: called after each trial and each round with what is missing and what was done.
        backoff: how to wait after a failure.

    Returns:
        What could not be delivered.
    """
    backoff = backoff or Backoff(cap_s=5.0)
    reporter = _Reporter()
    replay.refresh(curves=True)
    if not ledger.is_owned():
        replay.set_searching(False)
    moved_at, moved = time.monotonic(), replay.moved
    while True:
        problem = None
        try:
            replay.deliver(tell=lambda: say(replay.lag(None), replay.counts))
        except Exception as error:
            problem = reporter.report(error)
        lag = replay.lag(problem)
        say(lag, replay.counts)
        if problem is None:
            return lag
        if replay.moved != moved:
            moved_at, moved = time.monotonic(), replay.moved
            backoff.reset()
        wait_s = backoff.next_s()
        if time.monotonic() + wait_s - moved_at > timeout_s:
            return lag
        time.sleep(wait_s)


class _Reporter:
    """Logs a problem when it begins, when it changes and when it is over, not at every try."""

    def __init__(self) -> None:
        self._last: str | None = None

    def report(self, error: Exception) -> str:
        text = redact(f"{type(error).__name__}: {error}")
        kind = f"{type(error).__name__}{getattr(error, 'error_code', '')}"
        if kind != self._last:
            LOG.warning("not delivered, trying again: %s", text)
            LOG.debug("where", exc_info=error)
            self._last = kind
        return text

    def recovered(self) -> None:
        if self._last is not None:
            LOG.warning("delivering again")
            self._last = None


def _say(say_lag: Callable[[Lag], None], lag: Lag) -> None:
    try:
        say_lag(lag)
    except Exception as error:  # a full disk must not end the delivery
        LOG.warning("cannot write the state of the delivery: %s", redact(str(error)))
