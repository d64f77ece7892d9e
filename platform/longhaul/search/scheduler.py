"""Ray Tune's ASHA, made to hear the ledger."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler

from longhaul.search.rung import Rung
from longhaul.spec.search_settings import ASHASettings
from longhaul.spec.search_spec import SearchSpec


class Decisions(Protocol):
    """Who writes a decision down, before Tune carries it out."""

    def heard(self, tune_id: str, result: Mapping[str, Any]) -> bool:
        """Whether this report was already decided on."""
        ...

    def decided(self, tune_id: str, result: Mapping[str, Any], decision: str) -> None:
        """Records a report with ``continue`` or ``stop``."""

    def failed(self, tune_id: str, error: str) -> None:
        """Hears why a trial is about to be given up."""


class LedgerASHA(ASHAScheduler):
    """ASHA with one bracket, whose rungs can be filled from earlier reports.

    Differs from Tune's: a value that is not finite stops its trial at once and enters no rung; a
    report counts at its own rung and at no lower one; nothing is drawn at random; a decision does
    not cost more the more trials there were.

    Args:
        decisions: hears every decision.
        rungs: ascending step counts at which trials report; the last is their end.
        reduction_factor: one in this many goes on from a rung to the next.
    """

    def __init__(self, decisions: Decisions, rungs: Sequence[int], reduction_factor: float) -> None:
        super().__init__(
            time_attr="step",
            metric="value",
            mode="min",
            max_t=rungs[-1],
            grace_period=rungs[0],
            reduction_factor=reduction_factor,
        )
        # Tune finds the number of rungs from a quotient of logarithms, which may be one short.
        bracket: Any = self._brackets[0]
        bracket._rungs = [(float(rung), Rung()) for rung in reversed(rungs[:-1])]
        percent = (1 - 1 / reduction_factor) * 100
        bracket.cutoff = lambda recorded: recorded.percentile(percent)
        self._decisions = decisions

    def refill(self, reports: Mapping[int, Sequence[tuple[int, float]]]) -> None:
        """Fills the rungs from the reports (step, value) of each trial number, in any order."""
        rungs = dict(self._brackets[0]._rungs)
        for number, heard in reports.items():
            for step, value in heard:
                if step in rungs and math.isfinite(value):
                    rungs[step][f"recorded-{number}"] = -value

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Every trial competes in the one bracket; Tune's own draws one from the global numpy."""
        self._trial_info[trial.trial_id] = self._brackets[0]

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Decides, and has the decision written down."""
        if self._decisions.heard(trial.trial_id, result):
            return TrialScheduler.CONTINUE
        if math.isfinite(result["value"]):
            decision = super().on_trial_result(tune_controller, trial, result)
        else:
            decision = TrialScheduler.STOP
        stop = decision == TrialScheduler.STOP
        self._decisions.decided(trial.trial_id, result, "stop" if stop else "continue")
        return decision

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Passes on why; Tune tells its searcher only that."""
        self._decisions.failed(trial.trial_id, _error_text(trial))

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Forgets the trial. Tune's own records its last value once more, in a lower rung."""
        self._trial_info.pop(trial.trial_id, None)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        """Forgets the trial."""
        self._trial_info.pop(trial.trial_id, None)

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its scheduler; the ledger is what a search is taken up from.
        return {}


class NoStopping(FIFOScheduler):
    """Runs every trial to its end, and has its reports written down.

    Args:
        decisions: hears every decision.
    """

    def __init__(self, decisions: Decisions) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._decisions = decisions

    def refill(self, reports: Mapping[int, Sequence[tuple[int, float]]]) -> None:
        """Nothing: it compares no trials."""

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Nothing, for the same reason."""

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Continues, unless the value is not finite."""
        if self._decisions.heard(trial.trial_id, result):
            return TrialScheduler.CONTINUE
        stop = not math.isfinite(result["value"])
        self._decisions.decided(trial.trial_id, result, "stop" if stop else "continue")
        return TrialScheduler.STOP if stop else TrialScheduler.CONTINUE

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Passes on why; Tune tells its searcher only that."""
        self._decisions.failed(trial.trial_id, _error_text(trial))

    def __getstate__(self) -> dict[str, Any]:
        return {}


def build_scheduler(spec: SearchSpec, decisions: Decisions) -> LedgerASHA | NoStopping:
    """The scheduler that a search asks for.

    Args:
        spec: its scheduler and its rungs count.
        decisions: hears every decision.
    """
    settings, rungs = spec.search.scheduler, spec.rungs()
    if isinstance(settings, ASHASettings) and len(rungs) > 1:
        return LedgerASHA(decisions, rungs, settings.reduction_factor)
    return NoStopping(decisions)


def _error_text(trial: Any) -> str:
    try:
        return Path(trial.error_file).read_text(encoding="utf-8", errors="replace")
    except (OSError, TypeError):
        return ""
