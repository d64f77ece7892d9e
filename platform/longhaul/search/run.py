"""The course of one search: what is tried next, and every decision written down."""

import hashlib
import math
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from longhaul.errors import RequestError
from longhaul.ledger import (
    EventKind,
    Fold,
    Ledger,
    LedgerWriter,
    SearchRecord,
    SearchState,
    TrialRecord,
    TrialState,
)
from longhaul.search.limits import Limits
from longhaul.search.log import log_event
from longhaul.search.order import ArrivalOrder
from longhaul.search.spending import Budget
from longhaul.search.study import SpaceExhaustedError, Study
from longhaul.spec.objectives import LOSS
from longhaul.spec.search_spec import SearchSpec
from longhaul_trainers.settings import dump

OPEN = (TrialState.SUGGESTED, TrialState.RUNNING)
INTERRUPTED = "interrupted"


class SearchRun:
    """Hands out trials and records what becomes of them.

    Built from the ledger alone, so that starting, resuming and extending are the same thing:
    trials that the ledger shows unfinished come first, then new suggestions.

    Args:
        spec: what is searched.
        ledger: the search's ledger.
        writer: its writer, held by this process.
        changes: settings of `CHANGEABLE` that are to be others from now on. What the search was
            last opened with, or changed to, holds on, so that a search that was extended and
            interrupted stays extended.

    Raises:
        RequestError: the specification is not the one that the search was begun with.
    """

    def __init__(
        self,
        spec: SearchSpec,
        ledger: Ledger,
        writer: LedgerWriter,
        changes: Mapping[str, Any] | None = None,
    ) -> None:
        self.spec = spec
        self.ledger = ledger
        self._writer = writer
        self.max_steps = spec.max_steps
        self._fold = Fold(ledger.name)
        events = ledger.events()
        for event in events:
            self._fold.apply(event)
            if event.kind is EventKind.OPENED:
                self._check_spec(event.data.get("spec_file"))
        self.limits = Limits(spec, ledger.storage, events, changes or {})
        self._study = Study(spec)
        self._study.rebuild(events)
        self._by_tune_id: dict[str, int] = {}
        self._attempts: dict[int, int] = {}
        self._errors: dict[int, str] = {}
        self._unfinished = deque(
            number for number, one in sorted(self.record.trials.items()) if one.state in OPEN
        )
        self._next = max(self.record.trials, default=-1) + 1
        self._wrote = time.monotonic()
        self._slowest_write = 0.0
        self._turned: tuple[bool, bool] | None = None
        self.stop_reason: str | None = None
        self.exhausted = False
        self._order = ArrivalOrder()
        # Failed, and it may not be their turn yet.
        self._failures: set[int] = set()

    @property
    def record(self) -> SearchRecord:
        """The search as recorded so far."""
        return self._fold.record

    @property
    def trials(self) -> int:
        """How many trials the search has in all."""
        return self.limits.search.trials

    @property
    def remaining(self) -> int:
        """How many trials are still to be handed out."""
        new = 0 if self.used_up else max(0, self.trials - self._next)
        return len(self._unfinished) + new

    @property
    def budgets(self) -> list[Budget]:
        """The limits of the search, and how much of each is used by now."""
        record = self.record
        return self.limits.budgets(
            self._next, record.counted[TrialState.FAILED], record.steps_trained
        )

    @property
    def used_up(self) -> Budget | None:
        """The budget for which no further trial begins."""
        return next((one for one in self.budgets if one.used_up), None)

    @property
    def live(self) -> int:
        """How many trials are handed out and not over."""
        return len(self._by_tune_id)

    @property
    def silent_s(self) -> float:
        """Seconds since the last event."""
        return time.monotonic() - self._wrote

    def take_slowest_write(self) -> float:
        """Seconds that the slowest event took to be written since this was asked last."""
        slowest, self._slowest_write = self._slowest_write, 0.0
        return slowest

    @property
    def full(self) -> bool:
        """Whether as many trials run as may at once."""
        most = self.limits.at_once
        return most is not None and self.live >= most

    @property
    def waiting(self) -> bool:
        """Whether a further trial is handed out later, but not now."""
        return self._more and not self._order.room()

    @property
    def _more(self) -> bool:
        return self.stop_reason is None and not self.exhausted and self.remaining > 0

    def take_turns(self, order: ArrivalOrder) -> None:
        """Has reports decided on in an order; before the first trial is handed out."""
        self._order = order

    def opened(self) -> None:
        """Writes that this run begins, and what the search minimises where that is not the loss."""
        objective = self.spec.search.objective
        more = self.limits.recorded | ({} if objective == LOSS else {"objective": dump(objective)})
        resumed = bool(self.record.trials)
        more["spec_file"] = _sha256(self.ledger.spec_text())
        self._append(EventKind.OPENED, None, trials=self.trials, resumed=resumed, **more)

    def _check_spec(self, recorded: str | None) -> None:
        """Refuses a specification that was cut or changed, and may still be readable."""
        if recorded not in (None, _sha256(self.ledger.spec_text())):
            raise RequestError(
                f"{self.ledger.name}/spec.yaml is not the file with which the search was begun; "
                "put back what was there, or begin another search under another --name"
            )

    def settle(self) -> None:
        """Ends the trials whose last decision was written down, but not their end."""
        for number in list(self._unfinished):
            if self.record.trials[number].decision in ("stop", "done"):
                self._unfinished.remove(number)
                self._finished_or_stopped(number)
                self.ledger.trial(number).merge_history()

    def reports(self) -> dict[int, list[tuple[int, float]]]:
        """All reports by trial number, from which a scheduler's rungs are filled."""
        return {number: list(one.reports) for number, one in self.record.trials.items()}

    def stop(self, reason: str) -> None:
        """Hands out nothing more and has Tune end what runs; the first reason stays."""
        self.stop_reason = self.stop_reason or reason

    def heed_requests(self) -> None:
        """Carries out what somebody asked to change; looks for it now and then.

        To be called from the thread in which trials are handed out and decided on.
        """
        for request in self.limits.heed_requests():
            changes, number = dict(request.changes), request.number
            self._append(EventKind.CHANGED, None, changes=changes, request=number, by=request.by)

    def next_trial(self, tune_id: str) -> dict[str, Any] | None:
        """What a trainable needs for the next trial; None when there is none, or none now."""
        if not self._more or self.waiting:
            if self._turned != (self._more, self.waiting):
                self._turned = self._more, self.waiting
                self._next_turn()  # nobody waits for a trial that does not come
            return None
        self._turned = None
        if self._unfinished:
            number = self._unfinished.popleft()
        else:
            try:
                number = self._suggest()
            except SpaceExhaustedError:
                self.exhausted = True
                self._next_turn()
                return None
        self._by_tune_id[tune_id] = number
        trial = self.record.trials[number]
        heard = _heard(trial)
        self._order.begun(number, heard)
        self._next_turn()
        return {"number": number, "config": trial.config, "heard": heard}

    def number(self, tune_id: str) -> int:
        """The number of a trial that was handed out."""
        return self._by_tune_id[tune_id]

    def started(self, tune_id: str, node: str, host: int | None = None) -> None:
        """An actor took the trial up; ``host`` numbers the pack host in which it trains."""
        number = self._by_tune_id[tune_id]
        self._attempts[number] = self._attempts.get(number, 0) + 1
        heard = _heard(self.record.trials[number])
        attempt = self._attempts[number]
        where = {"node": node} if host is None else {"node": node, "host": host}
        self._append(EventKind.STARTED, number, attempt=attempt, from_step=heard, **where)

    def heard(self, tune_id: str, result: Mapping[str, Any]) -> bool:
        """Whether this report was decided on before: a trial that was retried says it again."""
        trial = self.record.trials[self._by_tune_id[tune_id]]
        return bool(result["step"] <= _heard(trial))

    def decided(self, tune_id: str, result: Mapping[str, Any], decision: str) -> None:
        """A report and what the scheduler decided."""
        number = self._by_tune_id[tune_id]
        step, value = result["step"], result["value"]
        self._append(EventKind.REPORTED, number, step=step, value=value, decision=decision)
        self._study.reported(number, step, value)
        if decision == "continue":
            self._order.went_on(number, step)
            self._next_turn()

    def failed(self, tune_id: str, error: str) -> None:
        """Why a trial is about to be given up, as far as Tune knows."""
        self._errors[self._by_tune_id[tune_id]] = error

    def ended(self, tune_id: str, result: Mapping[str, Any] | None, *, error: bool) -> None:
        """A trial is over: done, stopped, diverged or failed; or the storage is full.

        In the last case the search ends, and the trial is left to be taken up again.
        """
        number = self._by_tune_id.pop(tune_id)
        if result and result.get("full"):
            self.stop(result["full"])
            return
        if error or not result:
            self._failures.add(number)
        else:
            self._order.left(number)
            self._report_ended(number, result)
            self.ledger.trial(number).merge_history()
        self._next_turn()

    def _report_ended(self, number: int, result: Mapping[str, Any]) -> None:
        if result["diverged"] is not None:
            self._append(EventKind.DIVERGED, number, step=result["step"], reason=result["diverged"])
            self._study.ended(number, None, complete=False)
            return
        step, value = result["step"], result["value"]
        if step >= self.max_steps:
            self._append(EventKind.REPORTED, number, step=step, value=value, decision="done")
        self._finished_or_stopped(number)

    def _next_turn(self) -> None:
        """Lets the next report come; where its trial has failed, that is recorded instead."""
        number = self._order.turn(self._failures, more=self._more)
        while number is not None and number in self._failures:
            self._failures.remove(number)
            self._order.left(number)
            self._failed(number)
            number = self._order.turn(self._failures, more=self._more)
        if number is not None:
            self._order.let(number)

    def _finished_or_stopped(self, number: int) -> None:
        trial = self.record.trials[number]
        complete = trial.decision == "done"
        kind = EventKind.FINISHED if complete else EventKind.STOPPED
        self._append(kind, number, step=trial.step, value=trial.value)
        self._study.ended(number, trial.value, complete=complete)

    def _failed(self, number: int) -> None:
        # The trial's own words, where it lived to write them; a killed process leaves Tune's.
        text = self.ledger.trial(number).error() or self._errors.pop(number, "")
        reason = (text.strip().splitlines() or ["the trial's process died"])[-1]
        attempts = self._attempts.get(number, 0)
        self._append(EventKind.FAILED, number, reason=reason, attempts=attempts)
        self._study.ended(number, None, complete=False)
        self.ledger.trial(number).merge_history()
        failed = self.record.counts()[TrialState.FAILED]
        most = self.limits.search.max_failed_trials
        if failed > most:
            allowed = f"search.max_failed_trials allows {most}"
            self.stop(f"{failed} trials failed, {allowed}; the last one: {reason}")

    def _suggest(self) -> int:
        number = self._next
        suggestion = self._study.suggest(number)
        self.ledger.trial(number).write_config(suggestion.config)
        self._append(
            EventKind.SUGGESTED,
            number,
            params=suggestion.params,
            distributions=suggestion.distributions,
            asks=suggestion.asks,
            attributes=suggestion.attributes,
            config=suggestion.config,
            parameters=_parameters(suggestion.config),
        )
        self._next += 1
        return number

    def close(self) -> None:
        """Writes how this run ended: ``interrupted`` to be resumed, or ``closed``."""
        if self.stop_reason == INTERRUPTED:
            self._append(EventKind.INTERRUPTED, None, reason="by a signal")
        elif self.stop_reason is not None:
            state = SearchState.FAILED
            self._append(EventKind.CLOSED, None, reason=self.stop_reason, state=state)
        else:
            reason, budget = self.ending
            more = {} if budget is None else {"budget": budget.name}
            state = SearchState.COMPLETED
            self._append(EventKind.CLOSED, None, reason=reason, state=state, **more)

    @property
    def ending(self) -> tuple[str, Budget | None]:
        """Why a search that was neither interrupted nor broken off is over."""
        if self.exhausted:
            return "the space has no further configuration", None
        budget = self.used_up if self._next < self.trials else None
        return ("complete", None) if budget is None else (budget.reason, budget)

    def _append(self, kind: EventKind, number: int | None, **data: Any) -> None:
        began = time.monotonic()
        event = self._writer.append(kind, number, **data)
        self._wrote = time.monotonic()
        self._slowest_write = max(self._slowest_write, self._wrote - began)
        self._fold.apply(event)
        self.limits.spending.apply(event, live=True)
        log_event(event)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _parameters(config: dict[str, Any]) -> int | None:
    """How many parameters a trial trains; None where it cannot be trained."""
    # imported here: torch takes seconds
    from longhaul_trainers.catalogue import TASKS
    from longhaul_trainers.errors import SettingError
    from longhaul_trainers.training.model import SequenceModel
    from longhaul_trainers.training.settings import TrialConfig

    try:
        trial = TrialConfig.parse(config)
    except SettingError:
        return None
    return SequenceModel.parameter_count(TASKS.get(trial.task.name)(trial.task), trial.cell)


def _heard(trial: TrialRecord) -> int:
    return max((step for step, value in trial.reports if math.isfinite(value)), default=0)
