"""What a search will take, before it begins: steps, time, and the limit that will end it."""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from longhaul.ledger import Fold, Ledger, Storage, TrialRecord, open_storage
from longhaul.ledger.record import ENDED
from longhaul.search.fleet import local_resources, places_for
from longhaul.spec.search_settings import ASHASettings, SearchSettings
from longhaul.spec.search_spec import SearchSpec
from longhaul.spec.summary import expected_steps
from longhaul.summary import duration

MOST_EVENTS = 2000
"""How much of an earlier search is looked at."""


@dataclass(frozen=True)
class Speed:
    """How fast trials of the same shape were.

    Attributes:
        steps_per_second: of one trial, evaluation included.
        search: where that was measured.
    """

    steps_per_second: float
    search: str


@dataclass(frozen=True)
class Forecast:
    """What is to be expected of a search.

    Attributes:
        trials: how many begin at most.
        steps: training steps of a trial that is not stopped.
        most_steps: of all trials, if none is stopped.
        expected_steps: if one in so many goes on from each rung as the scheduler says, and as far
            as the limits let it come.
        at_once: trials that run at once; None where only the cluster knows.
        speed: of one trial, None where none of this shape was trained before.
        seconds: until the search ends, None where that is unknown.
        ends_by: the setting that ends it; None where that depends on an unknown speed.
        limits: the limits besides the number of trials.
    """

    trials: int
    steps: int
    most_steps: int
    expected_steps: int
    at_once: int | None
    speed: Speed | None
    seconds: float | None
    ends_by: str | None
    limits: Mapping[str, float]

    def lines(self) -> list[str]:
        """For people."""
        trials = "1 trial" if self.trials == 1 else f"{self.trials:,} trials"
        told = f"at most {trials} × {self.steps:,} steps = {self.most_steps:,} steps"
        lines = [f"{told}, about {self.expected_steps:,} to be expected"]
        if self.seconds is not None and self.speed is not None:
            lines.append(
                f"about {duration(self.seconds)} with {self.at_once} at once, each as fast as in "
                f"search {self.speed.search} ({self.speed.steps_per_second:.3g} steps/s)"
            )
        if self.limits:
            shown = {name: f"search.{name}: {limit:,g}" for name, limit in self.limits.items()}
            if self.ends_by is None:
                lines.append(f"ends with its trials, or by {', '.join(shown.values())}")
            elif self.ends_by == "trials":
                lines.append(f"ends with its trials, before {', '.join(shown.values())}")
            else:
                lines.append(f"will be ended by {shown[self.ends_by]}, before all trials began")
        return lines


def local_forecast(
    spec: SearchSpec,
    storage: str,
    address: str | None,
    search: SearchSettings | None = None,
    trained: int = 0,
) -> Forecast:
    """What a search will take here, as fast as searches in the storage were.

    Args:
        spec: what is searched.
        storage: where to look for an earlier one of the same shape.
        address: a cluster, whose room is unknown before it is asked.
        search: the settings in force; None for the specification's.
        trained: training steps that were done before.
    """
    slots = spec.resources.slots if isinstance(spec.resources.slots, int) else 1
    places = None if address else places_for(spec, local_resources()) * slots
    return forecast(
        spec,
        search or spec.search,
        places=places,
        speed=measured_speed(open_storage(storage), spec),
        trained=trained,
    )


def forecast(
    spec: SearchSpec,
    search: SearchSettings,
    *,
    places: int | None,
    speed: Speed | None,
    trained: int = 0,
) -> Forecast:
    """Reckons what a search will take.

    Args:
        spec: what is searched.
        search: the settings in force.
        places: trials that find a place at once; None where only the cluster knows.
        speed: of trials of this shape.
        trained: training steps that were done before, by a search that is resumed.
    """
    rungs, scheduler = spec.rungs(), search.scheduler
    factor = scheduler.reduction_factor if isinstance(scheduler, ASHASettings) else 1
    expected = expected_steps(rungs, search.trials, factor)
    at_once = search.parallel or places
    at_once = None if at_once is None else min(at_once, search.trials)
    rate = None if speed is None or at_once is None else speed.steps_per_second * at_once
    limits = {
        name: float(limit)
        for name in ("steps", "seconds", "gpu_hours")
        if (limit := getattr(search, name)) is not None
    }
    # Each limit as the training steps after which it ends the search; the least one does.
    ends: dict[str, float | None] = {"trials": float(expected)}
    for name, limit in limits.items():
        ends[name] = limit if name == "steps" else _steps(spec, name, limit, rate, at_once)
    known = {name: steps for name, steps in ends.items() if steps is not None}
    first = min(known, key=lambda name: known[name])
    expected = round(known[first])
    return Forecast(
        trials=search.trials,
        steps=rungs[-1],
        most_steps=search.trials * rungs[-1],
        expected_steps=expected,
        at_once=at_once,
        speed=speed,
        seconds=None if rate is None else max(0, expected - trained) / rate,
        ends_by=first if len(known) == len(ends) else None,
        limits=limits,
    )


def _steps(
    spec: SearchSpec, name: str, limit: float, rate: float | None, at_once: int | None
) -> float | None:
    """Training steps until a limit in time is reached; None while the speed is unknown."""
    if rate is None or at_once is None:
        return None
    if name == "seconds":
        return limit * rate
    slots = spec.resources.slots if isinstance(spec.resources.slots, int) else 1
    held = spec.resources.gpus * -(-at_once // slots)
    return limit * 3600 / held * rate if held else float("inf")


def measured_speed(root: Storage, spec: SearchSpec) -> Speed | None:
    """How fast trials of the same shape were in this storage, by the search begun last.

    Of the same shape are searches over the same task and cells with the same batches on the same
    resources; what their optimisers do makes little difference.
    """
    found: list[tuple[Any, Speed]] = []
    shape = _shape(spec.to_yaml())
    for name in Ledger.names(root):
        ledger = Ledger.open(root, name)
        if _shape(ledger.spec_text()) != shape:
            continue
        fold = Fold(name)
        for event in islice(ledger.iterate_events(), MOST_EVENTS):
            fold.apply(event)
        speeds = [speed for one in fold.record.trials.values() if (speed := _speed(one))]
        if speeds:
            found.append((fold.record.started, Speed(statistics.median(speeds), name)))
    return max(found, key=lambda one: one[0])[1] if found else None


def _speed(trial: TrialRecord) -> float | None:
    if trial.state not in ENDED or trial.started is None or trial.ended is None or not trial.step:
        return None
    seconds = (trial.ended - trial.started).total_seconds()
    return trial.step / seconds if seconds > 0 else None


def _shape(text: str) -> Any:
    import yaml

    try:
        content = yaml.safe_load(text)
        batch = content["training"].get("batch_size")
        return [content["task"], content["cell"], batch, content["resources"]]
    except (yaml.YAMLError, KeyError, TypeError, AttributeError):
        return object()  # equal to none
