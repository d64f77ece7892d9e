"""Replays the ledger of one search into MLflow, and can be cut off at any point."""

import logging
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from longhaul.ledger import Fold
from longhaul.redaction import redact
from longhaul.summary import objective_of
from longhaul.tracking import artifacts, layout
from longhaul.tracking.connection import check_experiment, open_experiment
from longhaul.tracking.description import describe
from longhaul.tracking.facts import SearchFacts
from longhaul.tracking.lag import Lag
from longhaul.tracking.points import closing_metrics, curve_metrics
from longhaul.tracking.retry import is_permanent
from longhaul.tracking.runs import PARENT, KnownRun, Runs

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from longhaul.ledger import Ledger, TrialRecord

LOG = logging.getLogger(__name__)

DESCRIPTION_EVERY_S = 30.0
REFUSALS = 3
"""How often MLflow must refuse a trial before it counts as undeliverable."""


@dataclass(frozen=True)
class Counts:
    """What a replay has done so far: runs made, points of curves sent, runs ended."""

    created: int = 0
    points: int = 0
    ended: int = 0


@dataclass(frozen=True)
class _Session:
    """What stays the same while MLflow stays the same."""

    client: "MlflowClient"
    experiment_id: str
    facts: SearchFacts
    runs: Runs


class Replay:
    """Brings MLflow up to what the ledger says; everything it does can be done again.

    Args:
        ledger: the search.
        connect: makes the client, when it is needed and again if that failed.
        tracking_uri: the address that ``connect`` goes to.
        thorough: compares also trials that MLflow says are complete.
        recreate: makes runs anew that somebody deleted in MLflow.
    """

    def __init__(
        self,
        ledger: "Ledger",
        connect: "Callable[[], MlflowClient]",
        tracking_uri: str,
        *,
        thorough: bool = False,
        recreate: bool = False,
    ) -> None:
        self.counts = Counts()
        self._ledger = ledger
        self._connect = connect
        self._uri = tracking_uri
        self._thorough = thorough
        self._recreate = recreate
        self._session: _Session | None = None
        self._facts: SearchFacts | None = None
        self._fold = Fold(ledger.name)
        self._read = -1
        self._through = -1
        self._searching = True
        # What is to be looked at, oldest first: the first event that each trial waits for, or none
        # where only points of its curve may be missing.
        self._waiting: dict[int, int | None] = {}
        self._running: dict[int, None] = {}  # an ordered set
        self._parent_waits = True
        self._described_at: float | None = None
        self._refusals: dict[int, int] = {}
        self._undeliverable: dict[int, str] = {}
        self._skipped: set[int] = set()

    def refresh(self, *, curves: bool = False) -> None:
        """Reads what the ledger has got since the last time.

        Args:
            curves: whether running trials are looked at even if no event speaks of them: their
                curves have points between the events.
        """
        events = self._ledger.events(after=self._read)
        if events and self._facts is None:
            self._facts = SearchFacts.of(self._ledger, events[0])
        for event in events:
            self._fold.apply(event)
            self._read = event.sequence
            self._parent_waits = True
            if event.kind in ("opened", "interrupted", "closed"):
                self.set_searching(event.kind == "opened")
            if event.trial is not None:
                if self._waiting.get(event.trial) is None:
                    self._waiting[event.trial] = event.sequence
                self._note_whether_running(event.trial)
        if curves:
            self._wait_for_running()

    def set_searching(self, searching: bool) -> None:
        """Says whether somebody works on the search; if not, running trials are interrupted."""
        if searching != self._searching:
            self._searching = searching
            self._parent_waits = True
            self._wait_for_running()

    def deliver(
        self, stop: Callable[[], bool] = lambda: False, tell: Callable[[], None] = lambda: None
    ) -> None:
        """Delivers everything read so far.

        Args:
            stop: asked between two trials; True ends early.
            tell: called after each trial.

        Raises:
            Exception: a failure that may pass; what was in hand stays waiting.
        """
        if self._facts is None:
            return  # not even opened
        session = self._session = self._session or self._open(self._facts)
        if self._searching:
            self._guard(session, PARENT)
        for number in list(self._waiting):
            if stop():
                return
            try:
                self._guard(session, number)
            except Exception:
                # To the end of the queue: one run that makes trouble must not hold up the others.
                self._waiting[number] = self._waiting.pop(number)
                raise
            self._waiting.pop(number)
            tell()
        if not self._searching:
            session.runs.sweep()
            self._guard(session, PARENT)
        self._through = self._read

    @property
    def delivered(self) -> bool:
        """Whether nothing is waiting."""
        return not self._waiting and not self._parent_waits and self._through == self._read

    @property
    def moved(self) -> object:
        """Differs from an earlier value if anything was delivered in between."""
        return self.counts, self._session.runs.requests if self._session else 0

    def lag(self, error: str | None) -> Lag:
        """What is still missing in MLflow, with the last problem if there is one."""
        session = self._session
        oldest = min((one for one in self._waiting.values() if one is not None), default=0)
        self._through = max(self._through, oldest - 1)
        parent = session.runs.find(PARENT) if session else None
        return Lag(
            events=max(0, self._read - self._through),
            trials=len(self._waiting),
            undeliverable=dict(self._undeliverable),
            skipped=len(self._skipped),
            error=error,
            time=datetime.now(UTC),
            through=self._through,
            experiment_id=session.experiment_id if session else None,
            parent_run_id=parent.run_id if parent else None,
        )

    def _open(self, facts: SearchFacts) -> _Session:
        client = self._connect()
        experiment = open_experiment(client, self._uri, facts.experiment)
        experiment_id = experiment.experiment_id
        runs = Runs(client, self._uri, experiment_id, facts.identity, self._recreate)
        runs.load()
        before, self._waiting = self._waiting, {}
        for number in self._fold.record.trials:
            if not self._thorough and self._is_complete(runs.find(number), number):
                runs.forget(number)
            else:
                self._waiting[number] = before.get(number)
        self._parent_waits = True
        return _Session(client, experiment_id, facts, runs)

    def _is_complete(self, run: KnownRun | None, number: int) -> bool:
        """Whether MLflow says that the trial ended and was delivered to its end."""
        state = layout.shown_state(self._fold.record.trials[number], self._searching)
        return (
            run is not None
            and state not in ("running", layout.INTERRUPTED)
            and run.status == layout.STATUS.get(state)
            and run.tags.get(layout.STATE_TAG) == state
        )

    def _guard(self, session: _Session, number: int) -> None:
        """Delivers one run; one that MLflow refuses for good is passed over.

        Raises:
            Exception: a failure that may pass.
        """
        if number in self._undeliverable:
            return
        try:
            if number == PARENT:
                self._deliver_parent(session)
            else:
                self._deliver_trial(session, number)
        except Exception as error:
            if not is_permanent(error) or not self._give_up(session, number, error):
                raise

    def _give_up(self, session: _Session, number: int, error: Exception) -> bool:
        """After a refusal: whether there is nothing more to be done for this run."""
        try:
            check_experiment(session.client, session.experiment_id)
        except Exception:
            self._session = None  # found, or made, anew when all is well again
            raise
        if session.runs.find(number) is not None and session.runs.is_gone(number):
            self._skip(number)
            return True
        self._refusals[number] = self._refusals.get(number, 0) + 1
        if self._refusals[number] < REFUSALS:
            return False
        self._undeliverable[number] = redact(str(error))
        LOG.warning("MLflow does not take %s: %s", _what(number), self._undeliverable[number])
        return True

    def _deliver_trial(self, session: _Session, number: int) -> None:
        trial = self._fold.record.trials[number]
        state = layout.shown_state(trial, self._searching)
        if state not in layout.STATUS:
            return  # suggested only: nothing to show yet
        runs = session.runs
        run = runs.find(number) or self._create(session, trial)
        if run.deleted:
            self._skip(number)
            return
        folder = self._ledger.trial(number)
        whole = int(run.tags.get(layout.DELIVERED_TAG, -1))
        history = folder.history(after=-1 if self._thorough else whole)
        metrics = curve_metrics(history, run.steps)
        points = len({metric.step for metric in metrics})
        metrics += closing_metrics(folder, trial, run.steps, objective_of(self._fold.record))
        params = layout.params(trial)
        newest = max([whole, *history["step"].to_pylist()[-1:]])
        tags = layout.trial_tags(trial, state) | {
            layout.DELIVERED_TAG: str(newest),
            layout.PARENT_TAG: _parent(session).run_id,
        }
        status = layout.STATUS[state]
        ending = state != "running" and (
            bool(metrics) or run.status != status or run.tags.get(layout.STATE_TAG) != state
        )
        # The tag of an ended state goes after the artifacts: whoever sees it, sees all.
        first = {k: v for k, v in tags.items() if k != layout.STATE_TAG} if ending else tags
        runs.log(run, metrics, params if run.params < len(params) else None, first)
        if ending:
            with tempfile.TemporaryDirectory(prefix="longhaul-") as staged:
                artifacts.stage_trial(folder, trial, staged)
                runs.upload(run, staged)
            runs.log(run, tags=tags)
            runs.set_status(run, status, trial.ended or datetime.now(UTC))
        elif run.status != status:
            runs.set_status(run, status)
        self._count(points=points, ended=int(ending))
        if state not in ("running", layout.INTERRUPTED):
            runs.forget(number)

    def _create(self, session: _Session, trial: "TrialRecord") -> KnownRun:
        tags = _shared_tags(session) | layout.child_tags(trial)
        tags[layout.STATE_TAG] = "running"
        tags[layout.PARENT_TAG] = _parent(session).run_id
        started = trial.started or datetime.now(UTC)
        run = session.runs.obtain(trial.number, layout.run_name(trial), tags, started)
        self._count(created=1)
        return run

    def _deliver_parent(self, session: _Session) -> None:
        runs, run = session.runs, _parent(session)
        if run.deleted:
            self._skip(PARENT)
            self._parent_waits = False
        now, before = time.monotonic(), self._described_at
        recent = before is not None and now - before < DESCRIPTION_EVERY_S
        if not self._parent_waits or (self._searching and recent):
            return
        record = self._fold.snapshot(None, alive=self._searching)
        state = str(record.state)
        with tempfile.TemporaryDirectory(prefix="longhaul-") as staged:
            if before is None or not self._searching:
                artifacts.stage_search(
                    self._ledger,
                    record,
                    staged,
                    results=not self._searching,
                )
                runs.upload(run, staged)
        note = describe(self._ledger, record)
        runs.log(run, tags={layout.NOTE_TAG: note, layout.STATE_TAG: state})
        if not self._searching:
            runs.set_status(run, layout.STATUS[state], record.ended or datetime.now(UTC))
        elif run.status != "RUNNING":
            runs.set_status(run, "RUNNING")
        self._described_at = now
        self._parent_waits = False

    def _wait_for_running(self) -> None:
        for number in self._running:
            self._waiting.setdefault(number, None)

    def _note_whether_running(self, number: int) -> None:
        trial = self._fold.record.trials.get(number)
        if trial is not None and trial.state == "running":
            self._running[number] = None
        else:
            self._running.pop(number, None)

    def _skip(self, number: int) -> None:
        if number not in self._skipped:
            self._skipped.add(number)
            LOG.warning("the run of %s was deleted in MLflow; it is left alone", _what(number))

    def _count(self, created: int = 0, points: int = 0, ended: int = 0) -> None:
        done = self.counts
        self.counts = Counts(done.created + created, done.points + points, done.ended + ended)


def _parent(session: _Session) -> KnownRun:
    facts = session.facts
    return session.runs.find(PARENT) or session.runs.obtain(
        PARENT, facts.name, _shared_tags(session) | layout.task_tags(facts.task), facts.started
    )


def _shared_tags(session: _Session) -> dict[str, str]:
    return layout.identity_tags(session.facts)


def _what(number: int) -> str:
    return "the search" if number == PARENT else f"trial {number}"
