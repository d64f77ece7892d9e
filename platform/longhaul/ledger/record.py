"""A search as its events tell it."""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from longhaul.ledger.events import Event, EventKind
from longhaul.ledger.lease import Owner


class TrialState(StrEnum):
    """Where a trial stands. `running` in a search that is not owned means it was interrupted."""

    SUGGESTED = "suggested"
    RUNNING = "running"
    COMPLETED = "completed"
    STOPPED = "stopped"
    DIVERGED = "diverged"
    FAILED = "failed"


class SearchState(StrEnum):
    """Where a search stands."""

    RUNNING = "running"
    INTERRUPTED = "interrupted"
    COMPLETED = "completed"
    FAILED = "failed"


ENDED = frozenset(
    {TrialState.COMPLETED, TrialState.STOPPED, TrialState.DIVERGED, TrialState.FAILED}
)
"""The states of a trial that will not go on."""


ENDED_BY = frozenset({EventKind.FINISHED, EventKind.STOPPED, EventKind.DIVERGED, EventKind.FAILED})
"""The events after which a trial will not go on."""


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """One trial as the events tell it.

    Args:
        number: from 0, in the order of suggestion.
        state: where it stands.
        params: suggested values by Optuna's parameter names.
        distributions: Optuna's distributions as JSON text, by the same names.
        config: the resolved configuration.
        seed: the trial's seed.
        parameters: number of trainable parameters; None where an older version suggested it.
        reports: (step, value then), in order.
        decision: what was decided at the last report: continue, stop or done.
        step: training steps done, as far as reported.
        value: what the search minimises, so far; lower is better.
        started: when its first attempt began.
        ended: when it ended; None while it goes on.
        attempts: how often it was started.
        node: where it was started last.
        host: number of the pack host in which it trains; None where it trains by itself.
        reason: why it diverged or failed.
    """

    number: int
    state: TrialState = TrialState.SUGGESTED
    params: dict[str, Any] = field(default_factory=dict)
    distributions: dict[str, str] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    seed: int | None = None
    parameters: int | None = None
    reports: tuple[tuple[int, float], ...] = ()
    decision: str | None = None
    step: int = 0
    value: float | None = None
    started: datetime | None = None
    ended: datetime | None = None
    attempts: int = 0
    node: str | None = None
    host: int | None = None
    reason: str | None = None

    @property
    def max_steps(self) -> int | None:
        """Training steps of the whole trial, by its configuration."""
        steps = (self.config.get("training") or {}).get("steps")
        return int(steps) if steps is not None else None

    @property
    def rank(self) -> tuple[float, int] | None:
        """What the best trial has least of; None if it cannot be best."""
        if self.state is not TrialState.COMPLETED or self.value is None:
            return None
        return (self.value, self.number) if math.isfinite(self.value) else None


@dataclass(slots=True)
class SearchRecord:
    """One search as the events tell it.

    Args:
        name: the search.
        state: running only if its owner is alive.
        owner: who runs it, or ran it last.
        trials: by number, in the order of suggestion.
        steps_trained: sum over the trials of the largest step of each.
        steps_saved: steps that stopped and diverged trials were spared.
        objective: what it minimises, as its specification says; None for the validation loss.
        started: when it was first opened.
        ended: when it was closed or interrupted last; None while it runs.
        reason: why it was closed or interrupted.
        last_event: the last event's sequence number; -1 if there is none.
        best_number: number of the best trial.
        counted: how many trials are in each state that occurs.
    """

    name: str = ""
    state: SearchState = SearchState.RUNNING
    owner: Owner | None = None
    trials: dict[int, TrialRecord] = field(default_factory=dict)
    steps_trained: int = 0
    steps_saved: int = 0
    objective: dict[str, Any] | None = None
    started: datetime | None = None
    ended: datetime | None = None
    reason: str | None = None
    last_event: int = -1
    best_number: int | None = None
    counted: Counter[TrialState] = field(default_factory=Counter)

    def best(self) -> TrialRecord | None:
        """The completed trial with the lowest finite value; of equal ones the earliest."""
        return None if self.best_number is None else self.trials[self.best_number]

    def counts(self) -> dict[TrialState, int]:
        """How many trials are in each state."""
        return {state: self.counted[state] for state in TrialState}


class Fold:
    """Keeps the record of a search up to date, event by event, at constant cost for each.

    Events that were applied already are passed over, so the same ones may be applied twice.

    Args:
        name: the search.
    """

    def __init__(self, name: str = "") -> None:
        self.record = SearchRecord(name)
        """Grows with every event. `snapshot` gives one that stays as it is."""

    def apply(self, event: Event) -> None:
        """Take one event into account."""
        record = self.record
        if event.sequence <= record.last_event:
            return
        record.last_event = event.sequence
        if event.trial is None:
            self._apply_to_search(event)
            return
        old = record.trials.get(event.trial)
        change = _CHANGES.get(event.kind)
        if change is not None:
            self._put(old, change(old or TrialRecord(event.trial), event))

    def snapshot(self, owner: Owner | None, alive: bool) -> SearchRecord:
        """The search as it stands now, unaffected by later events.

        Args:
            owner: who runs it, or ran it last.
            alive: whether that process is at work.
        """
        record = self.record
        dead = record.state is SearchState.RUNNING and not alive
        return replace(
            record,
            state=SearchState.INTERRUPTED if dead else record.state,
            owner=owner,
            trials=dict(sorted(record.trials.items())),
            counted=Counter(record.counted),
        )

    def _apply_to_search(self, event: Event) -> None:
        record = self.record
        if event.kind is EventKind.OPENED:
            record.started = record.started or event.time
            record.ended = record.reason = None
            record.objective = event.data.get("objective")
            record.state = SearchState.RUNNING
        elif event.kind in (EventKind.INTERRUPTED, EventKind.CLOSED):
            record.ended = event.time
            record.reason = event.data.get("reason")
            if event.kind is EventKind.INTERRUPTED:
                record.state = SearchState.INTERRUPTED
            elif event.data.get("state") == SearchState.FAILED:
                record.state = SearchState.FAILED
            else:
                record.state = SearchState.COMPLETED

    def _put(self, old: TrialRecord | None, new: TrialRecord) -> None:
        record = self.record
        if old is not None:
            record.counted[old.state] -= 1
            record.steps_trained -= old.step
            record.steps_saved -= _saved(old)
        record.counted[new.state] += 1
        record.steps_trained += new.step
        record.steps_saved += _saved(new)
        record.trials[new.number] = new
        if record.best_number == new.number:  # it may have become worse, or be trained again
            ranks = (trial.rank for trial in record.trials.values())
            record.best_number = min((rank for rank in ranks if rank), default=(0, None))[1]
            return
        best = record.best()
        if new.rank and (best is None or best.rank is None or new.rank < best.rank):
            record.best_number = new.number


def _saved(trial: TrialRecord) -> int:
    if trial.state not in (TrialState.STOPPED, TrialState.DIVERGED) or trial.max_steps is None:
        return 0
    return max(0, trial.max_steps - trial.step)


def _suggested(trial: TrialRecord, event: Event) -> TrialRecord:
    config = event.data.get("config") or {}
    return replace(
        trial,
        params=event.data.get("params") or {},
        distributions=event.data.get("distributions") or {},
        config=config,
        seed=config.get("seed"),
        parameters=event.data.get("parameters"),
    )


def _started(trial: TrialRecord, event: Event) -> TrialRecord:
    return replace(
        trial,
        state=TrialState.RUNNING,
        started=trial.started or event.time,
        ended=None,
        reason=None,
        attempts=max(trial.attempts + 1, event.data.get("attempt") or 0),
        node=event.data.get("node"),
        host=event.data.get("host"),
    )


def _reported(trial: TrialRecord, event: Event) -> TrialRecord:
    step, value = event.data.get("step"), event.data.get("value")
    if step is None or value is None:
        return trial
    if trial.reports and step <= trial.reports[-1][0]:  # trained again after a crash: known
        return trial
    return replace(
        trial,
        reports=(*trial.reports, (step, value)),
        decision=event.data.get("decision"),
        step=max(trial.step, step),
        value=value,
    )


def _ended(state: TrialState) -> Callable[[TrialRecord, Event], TrialRecord]:
    def change(trial: TrialRecord, event: Event) -> TrialRecord:
        value = event.data.get("value")
        return replace(
            trial,
            state=state,
            step=max(trial.step, event.data.get("step") or 0),
            value=trial.value if value is None else value,
            ended=event.time,
            attempts=max(trial.attempts, event.data.get("attempts") or 0),
            reason=event.data.get("reason"),
        )

    return change


_CHANGES: dict[EventKind, Callable[[TrialRecord, Event], TrialRecord]] = {
    EventKind.SUGGESTED: _suggested,
    EventKind.STARTED: _started,
    EventKind.REPORTED: _reported,
    EventKind.STOPPED: _ended(TrialState.STOPPED),
    EventKind.DIVERGED: _ended(TrialState.DIVERGED),
    EventKind.FAILED: _ended(TrialState.FAILED),
    EventKind.FINISHED: _ended(TrialState.COMPLETED),
}
