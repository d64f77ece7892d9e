"""What the commands that show a search answer, as plain data."""

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from longhaul import summary
from longhaul.errors import LonghaulError, RequestError
from longhaul.redaction import redact

if TYPE_CHECKING:
    from longhaul.ledger import Ledger, SearchRecord, TrialRecord
    from longhaul.spec.objectives import Objective


def search_overview(ledger: "Ledger") -> dict[str, Any]:
    """One line of ``longhaul list``: state, counts, the best trial so far."""
    record = ledger.record()
    best, objective = record.best(), summary.objective_of(record)
    return {
        "name": ledger.name,
        "state": record.state,
        "trials": len(record.trials),
        "counts": record.counts(),
        "objective": _objective(objective),
        "best": None
        if best is None
        else {"trial": best.number, "value": best.value, "shown": objective.text(best.value)},
        "task": _task(record),
        "started": record.started,
        "ended": record.ended,
        "last_change": _last_change(record),
    }


def search_status(ledger: "Ledger") -> dict[str, Any]:
    """``longhaul status``: the overview, who runs it, what it has trained, how far MLflow is.

    MLflow's part is None where nothing was ever delivered; it says what its writer wrote last.
    """
    record = ledger.record()
    lag, objective = _lag(ledger), summary.objective_of(record)
    ended = record.ended or datetime.now(UTC)
    return search_overview(ledger) | {
        "best": best_summary(ledger, record),
        "owner": None if record.owner is None else str(record.owner),
        "reason": redact(record.reason) if record.reason else None,
        "steps_trained": record.steps_trained,
        "steps_saved": record.steps_saved,
        "seconds": (ended - record.started).total_seconds() if record.started else None,
        "running": [
            _progress(one, objective) for one in record.trials.values() if _runs(record, one)
        ],
        "mlflow": lag,
    }


def best_trial(ledger: "Ledger") -> dict[str, Any]:
    """``longhaul best``: the configuration that won, and how to train it again.

    Raises:
        LonghaulError: no trial has run all its steps with a finite loss.
    """
    record = ledger.record()
    best = record.best()
    if best is None:
        counts = summary.count_words(record.counts(), record.state)
        raise LonghaulError(
            f"search {ledger.name!r} has no best trial yet: none of its {len(record.trials)} "
            f"trials ({counts}) ran all its steps with a finite loss"
        )
    return trial_details(ledger, best.number)


def trial_details(ledger: "Ledger", number: int) -> dict[str, Any]:
    """``longhaul show NAME TRIAL``: everything about one trial but its curve.

    Raises:
        RequestError: there is no such trial.
    """
    record = ledger.record()
    trial = record.trials.get(number)
    if trial is None:
        there = f"it has 0 to {max(record.trials)}" if record.trials else "it has none yet"
        raise RequestError(f"search {ledger.name!r} has no trial {number}; {there}")
    folder, objective = ledger.trial(number), summary.objective_of(record)
    result = folder.result() or {}
    environment = folder.environment() or ledger.environment()
    return {
        "search": ledger.name,
        "trial": number,
        "state": trial.state,
        "objective": _objective(objective),
        "value": trial.value,
        "reached": objective.reached(trial.value),
        "shown": objective.text(trial.value),
        "over_baseline": objective.over_baseline(trial.value, summary.trivial_baseline(folder)),
        "validation_loss": result.get("valid/loss"),
        "test": {key: one for key, one in result.items() if key.startswith("test/")},
        "step": trial.step,
        "best_step": result.get("best_step"),
        "hidden_size": summary.hidden_size_of(trial),
        "parameters": summary.parameters_of(trial, result),
        "attempts": trial.attempts,
        "node": trial.node,
        "host": trial.host,
        "reason": redact(trial.reason) if trial.reason else None,
        "started": trial.started,
        "ended": trial.ended,
        "suggested": trial.params,
        "config": trial.config,
        "reports": trial.reports,
        "reports_shown": [(step, objective.text(value)) for step, value in trial.reports],
        "fingerprint": environment.get("fingerprint"),
        "reproduce": summary.reproduce_command(ledger, number),
    }


def best_summary(ledger: "Ledger", record: "SearchRecord") -> dict[str, Any] | None:
    """The best trial in a few numbers; None while there is none."""
    best = record.best()
    if best is None:
        return None
    baseline = summary.trivial_baseline(ledger.trial(best.number))
    objective = summary.objective_of(record)
    return {
        "trial": best.number,
        "value": best.value,
        "reached": objective.reached(best.value),
        "shown": objective.text(best.value),
        "over_baseline": objective.over_baseline(best.value, baseline),
        "cell": summary.cell_of(best),
    }


def trial_rows(record: "SearchRecord") -> list[dict[str, Any]]:
    """``longhaul show NAME``: the trials, those that ran all their steps first, best first."""
    trials = sorted(record.trials.values(), key=_order)
    objective = summary.objective_of(record)
    return [
        {
            "trial": one.number,
            "state": one.state,
            "cell": summary.cell_of(one),
            "value": one.value,
            "shown": objective.text(one.value),
            "step": one.step,
            "suggested": one.params,
            "reason": redact(one.reason) if one.reason else None,
        }
        for one in trials
    ]


def _order(trial: "TrialRecord") -> tuple[float, ...]:
    value = math.inf if trial.value is None or math.isnan(trial.value) else trial.value
    return (trial.rank is None, -trial.step if trial.rank is None else 0, value, trial.number)


def _runs(record: "SearchRecord", trial: "TrialRecord") -> bool:
    return record.state == "running" and trial.state == "running"


def _objective(objective: "Objective") -> dict[str, Any]:
    """What is minimised: its settings, and what to call it."""
    from longhaul_trainers.settings import dump

    return dump(objective) | {"title": objective.title, "heading": objective.heading}


def _progress(trial: "TrialRecord", objective: "Objective") -> dict[str, Any]:
    return {
        "trial": trial.number,
        "step": trial.step,
        "steps": trial.max_steps,
        "value": trial.value,
        "shown": objective.text(trial.value),
        "node": trial.node,
        "host": trial.host,
    }


def _task(record: "SearchRecord") -> str | None:
    trial = next(iter(record.trials.values()), None)
    return None if trial is None else str(summary.task_of(trial).get("name", ""))


def _last_change(record: "SearchRecord") -> datetime | None:
    times = [time for one in record.trials.values() for time in (one.started, one.ended) if time]
    times += [time for time in (record.started, record.ended) if time]
    return max(times, default=None)


def _lag(ledger: "Ledger") -> dict[str, Any] | None:
    from dataclasses import asdict

    from longhaul.tracking.lag import Lag

    lag = Lag.read(ledger.storage)
    if lag is None:
        return None
    # Written by a process that may be gone: what the ledger got since then is missing as well.
    behind = max(lag.events, ledger.record().last_event - lag.through)
    return asdict(lag) | {"events": behind, "delivered": lag.delivered and behind == 0}
