"""What Prometheus is told of a running search, through the exporter that Ray brings.

Ray serves them with its own metrics, ``ray_`` before each name, from the node of the driver; where
it has no exporter (without ``ray[default]``) nobody hears them. They are set now and then, not with
every report, and cost the same however many trials there are.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from longhaul.search.run import SearchRun
from longhaul.tracking import Lag

EVERY_S = 5.0
"""Seconds between two looks at the search."""

STEPS = "longhaul_training_steps"
GAUGES = {
    "longhaul_trials": "Trials of a search by state",
    "longhaul_slots": "Trials that may run at once",
    "longhaul_slots_used": "Trials that run",
    "longhaul_best_value": "What the search minimises, of its best trial",
    "longhaul_ledger_silent_seconds": "Time since the ledger got its last event",
    "longhaul_ledger_write_seconds": "The longest that an event took to be written, lately",
    "longhaul_mlflow_lag_events": "Events of the ledger that MLflow does not have yet",
    "longhaul_budget_used_ratio": "How much of a limit is used",
}
"""Names and descriptions; all have the label ``search``."""
LABELS = {"longhaul_trials": "state", "longhaul_budget_used_ratio": "budget"}
"""What else some are told apart by."""
EXPORTED = frozenset({f"ray_{name}" for name in GAUGES} | {f"ray_{STEPS}_total"})
"""The names as Prometheus has them."""


@dataclass(frozen=True)
class Snapshot:
    """A search in numbers, at one moment.

    Attributes:
        trials: by state.
        steps: training steps of all trials.
        slots: trials that may run at once; None where nothing says so.
        slots_used: trials that run.
        best: what the search minimises, of its best trial; None before there is one.
        silent_s: seconds since the last event.
        write_s: seconds that the slowest event took to be written since the last look.
        lag: events that MLflow lacks.
        used: how much of each limit is used, 1 for all of it.
    """

    trials: Mapping[str, int]
    steps: int
    slots: int | None
    slots_used: int
    best: float | None
    silent_s: float
    write_s: float
    lag: int
    used: Mapping[str, float]


def snapshot(run: SearchRun) -> Snapshot:
    """A running search at this moment."""
    record, lag = run.record, Lag.read(run.ledger.storage)
    best = record.best()
    behind = record.last_event + 1 if lag is None else record.last_event - lag.through
    return Snapshot(
        trials={str(state): count for state, count in record.counts().items()},
        steps=record.steps_trained,
        slots=run.limits.at_once,
        slots_used=run.live,
        best=None if best is None else best.value,
        silent_s=run.silent_s,
        write_s=run.take_slowest_write(),
        lag=behind,
        used={
            # of a limit of none, as many as there are
            one.name: one.used / one.limit if one.limit else one.used
            for one in run.budgets
        },
    )


class SearchMetrics:
    """Sets the metrics of one search; Ray must be running.

    Args:
        name: the search.
        steps: training steps that were done before this process began.
    """

    def __init__(self, name: str, steps: int = 0) -> None:
        # imported here: Ray is running by now
        from ray.util.metrics import Counter, Gauge

        self._name = name
        self._steps = steps
        keys = {key: tuple(filter(None, ("search", LABELS.get(key)))) for key in GAUGES}
        self._gauges: dict[str, Any] = {
            key: Gauge(key, description=text, tag_keys=keys[key]) for key, text in GAUGES.items()
        }
        text = "Training steps of all trials of a search"
        self._counter: Any = Counter(STEPS, description=text, tag_keys=("search",))

    def show(self, now: Snapshot) -> None:
        """Tells how the search stands."""
        single = {
            "longhaul_slots": now.slots,
            "longhaul_slots_used": now.slots_used,
            "longhaul_best_value": now.best,
            "longhaul_ledger_silent_seconds": now.silent_s,
            "longhaul_ledger_write_seconds": now.write_s,
            "longhaul_mlflow_lag_events": now.lag,
        }
        for key, value in single.items():
            if value is not None:
                self._gauges[key].set(value, tags={"search": self._name})
        for key, values in (
            ("longhaul_trials", now.trials),
            ("longhaul_budget_used_ratio", now.used),
        ):
            for label, value in values.items():
                self._gauges[key].set(value, tags={"search": self._name, LABELS[key]: label})
        if now.steps > self._steps:
            self._counter.inc(now.steps - self._steps, tags={"search": self._name})
            self._steps = now.steps


class Watch:
    """Looks at a running search now and then and sets its metrics.

    Args:
        run: the search.
    """

    def __init__(self, run: SearchRun) -> None:
        self._run = run
        self._metrics = SearchMetrics(run.record.name, run.record.steps_trained)
        self._looked = -EVERY_S

    def look(self) -> None:
        """Sets the metrics; does nothing where it has just done so."""
        now = time.monotonic()
        if now - self._looked >= EVERY_S:
            self._looked = now
            self._metrics.show(snapshot(self._run))
