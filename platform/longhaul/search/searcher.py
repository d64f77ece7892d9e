"""How Ray Tune asks for trials and tells of their end."""

from typing import Any

from ray.tune import Callback, Stopper
from ray.tune.search import Searcher

from longhaul.search.run import SearchRun
from longhaul.search.seats import Seats, structure_of
from longhaul.search.standstill import Standstill


class LedgerSearcher(Searcher):
    """Hands Tune the trials of a `SearchRun`; keeps nothing itself.

    Args:
        run: the search.
        seats: where the trials train, if in pack hosts.
        standstill: hears which trials wait.
    """

    def __init__(
        self, run: SearchRun, seats: Seats | None = None, standstill: Standstill | None = None
    ) -> None:
        super().__init__(metric="value", mode="min")
        self._standstill = standstill or Standstill()
        self._run = run
        self._seats = seats

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """Limits itself, because how many trials run at once may change."""
        return True

    def suggest(self, trial_id: str) -> Any:
        """The next trial's configuration; None where there is none now, FINISHED for ever."""
        self._run.heed_requests()
        if self._run.full:
            return None
        trial = self._run.next_trial(trial_id)
        if trial is None:
            # As long as a trial runs, the search may be given more of them.
            waits = self._run.waiting or (self._run.live and self._run.stop_reason is None)
            return None if waits else Searcher.FINISHED
        self._standstill.waits(trial_id)
        if self._seats is not None:
            trial["host"] = self._seats.take(trial_id, structure_of(trial["config"]))
        return trial

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """A trial is over."""
        self._standstill.over(trial_id)
        if self._seats is not None:
            self._seats.leave(trial_id)
        self._run.ended(trial_id, result, error=error)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: a search is taken up from its ledger."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, see `save`."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class StartedTrials(Callback):
    """Notes each start of a trial, retries included."""

    def __init__(self, run: SearchRun, standstill: Standstill | None = None) -> None:
        self._run = run
        self._standstill = standstill or Standstill()

    def on_trial_recover(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """The trial has lost its actor, and is to have another."""
        self._standstill.waits(trial.trial_id)

    def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """An actor took the trial up."""
        self._standstill.runs(trial.trial_id)
        self._run.started(trial.trial_id, trial.node_ip or "", trial.config.get("host"))

    def __getstate__(self) -> dict[str, Any]:
        return {}


class StopRequested(Stopper):
    """Ends everything once the run says so."""

    def __init__(self, run: SearchRun) -> None:
        self._run = run

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Never stops a single trial: that is the scheduler's to decide."""
        return False

    def stop_all(self) -> bool:
        """Whether the whole search is to end; Tune asks after every event."""
        self._run.heed_requests()
        return self._run.stop_reason is not None

    def __getstate__(self) -> dict[str, Any]:
        return {}
