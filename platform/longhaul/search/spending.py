"""What a search has taken of its budgets."""

import time
from collections.abc import Iterable
from dataclasses import dataclass

from longhaul.ledger import Event, EventKind
from longhaul.ledger.record import ENDED_BY


@dataclass(frozen=True)
class Budget:
    """One limit of a search.

    Attributes:
        name: the setting, for example ``gpu_hours``.
        limit: its value.
        used: how much of it is used.
        ends: whether no further trial begins once it is used up; trials and failures are counted
            elsewhere.
    """

    name: str
    limit: float
    used: float
    ends: bool = True

    @property
    def used_up(self) -> bool:
        """Whether it keeps further trials from beginning."""
        return self.ends and self.used >= self.limit

    @property
    def reason(self) -> str:
        """Why the search ended, where it ended for this."""
        return f"the budget search.{self.name}: {self.limit:,g} is used up"


class Spending:
    """Seconds and GPU hours of a search, event by event, at constant cost for each.

    A run counts from its first trial on, so that a slow start of Ray takes nothing away, to its
    last event; the time between two runs does not count. A GPU counts while a trial that holds it
    runs or, with packs, from the first trial in its host on.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.gpu_hours = 0.0
        self._gpus = 0.0
        self._last: float | None = None
        self._running: set[int] = set()
        self._hosts: set[int] = set()

    def apply(self, event: Event, *, live: bool = False) -> None:
        """Takes one event into account.

        Args:
            event: the next one.
            live: whether it happens now, so that this machine's clock may be set meanwhile.
        """
        if event.kind is EventKind.OPENED:
            self._last = None
            self._gpus = event.data.get("gpus", 0.0)
            self._running.clear()
            self._hosts.clear()
        if event.trial is None:
            return
        self._advance(time.monotonic() if live else event.time.timestamp())
        if event.kind is EventKind.STARTED:
            self._running.add(event.trial)
            if event.data.get("host") is not None:
                self._hosts.add(event.data["host"])
        elif event.kind in ENDED_BY:
            self._running.discard(event.trial)

    def now(self) -> tuple[float, float]:
        """Seconds and GPU hours by now, the time since the last event of a running search too.

        Changes nothing, so that any thread may ask.
        """
        passed = 0.0 if self._last is None else max(0.0, time.monotonic() - self._last)
        return self.seconds + passed, self.gpu_hours + self._held * passed / 3600

    @property
    def _held(self) -> float:
        return self._gpus * (len(self._hosts) or len(self._running))

    def _advance(self, now: float) -> None:
        if self._last is not None:
            passed = max(0.0, now - self._last)
            self.seconds += passed
            self.gpu_hours += self._held * passed / 3600
        self._last = now


def seconds_spent(events: Iterable[Event]) -> float:
    """Seconds in which trials were handed out and trained, over all runs of a search."""
    spending = Spending()
    for event in events:
        spending.apply(event)
    return spending.seconds
