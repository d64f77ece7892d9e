"""Training a recorded configuration again, and comparing every logged value."""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from longhaul.environment import capture, differences
from longhaul.errors import RequestError
from longhaul_trainers.seeds import derive_seed

Progress = Callable[[int, int], None]
"""Called with the steps done and the steps in all."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Recording:
    """A trial as it was recorded.

    Attributes:
        label: what to call it, for example ``copying-quickstart/00003``.
        config: its configuration, seed included.
        environment: where it was trained, empty where that was not recorded.
        history: its curve, one row a point, in order of steps.
    """

    label: str
    config: dict[str, Any]
    environment: dict[str, Any]
    history: list[Row]


@dataclass(frozen=True)
class Difference:
    """The first value that differs.

    Attributes:
        step, metric: where.
        recorded, repeated: the two values.
    """

    step: int
    metric: str
    recorded: float | None
    repeated: float | None


@dataclass(frozen=True)
class Verdict:
    """How a repetition compares with its recording.

    Attributes:
        label: the recording's.
        verdict: ``identical`` only if every value is equal bit for bit and so is the environment's
            fingerprint; ``within tolerance``; or ``different``.
        values: how many values were compared.
        equal: how many of them are equal bit for bit.
        largest: the largest relative difference.
        tolerance: what was allowed.
        first: where they first differ, None where they do not.
        environment: how the environments differ, one line each.
    """

    label: str
    verdict: Literal["identical", "within tolerance", "different"]
    values: int
    equal: int
    largest: float
    tolerance: float
    first: Difference | None
    environment: list[str]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class SeedStudy:
    """One configuration trained from several fresh seeds.

    Attributes:
        label: the recording's.
        seeds: the seeds.
        values: by metric, one value a seed; None where that seed diverged.
        summary: by metric, mean, deviation (sample) and 95 % confidence interval of the mean
            (Student's t) over the seeds that did not diverge.
        diverged: how many seeds diverged.
    """

    label: str
    seeds: list[int]
    values: dict[str, list[float | None]]
    summary: dict[str, dict[str, float]]
    diverged: int

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def recorded_in_ledger(storage: str, name: str, number: int | None) -> Recording:
    """A trial of a search, by default its best.

    Raises:
        RequestError: there is no such search or trial, or nothing of it was recorded.
    """
    from longhaul.ledger import Ledger

    ledger = Ledger.open(storage, name)
    record = ledger.record()
    if number is None:
        best = record.best()
        if best is None:
            raise RequestError(
                f"search {name} has no trial that ran all its steps; name one: {name}/TRIAL"
            )
        number = best.number
    if number not in record.trials:
        known = f"0 to {len(record.trials) - 1}" if record.trials else "none yet"
        raise RequestError(f"search {name} has no trial {number}; it has: {known}")
    folder = ledger.trial(number)
    history = folder.history().to_pylist()
    if not history:
        raise RequestError(f"trial {number} of search {name} has not recorded anything yet")
    config = record.trials[number].config
    return Recording(f"{name}/{number:05d}", config, folder.environment() or {}, history)


def recorded_in_mlflow(run_id: str, tracking_uri: str) -> Recording:
    """A trial from the artifacts of its MLflow run.

    Raises:
        RequestError: the run does not exist or is not of a trial.
    """
    # imported here: 4 s
    import json

    import mlflow
    import pyarrow.parquet
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    try:
        client = mlflow.MlflowClient(tracking_uri)
        run = client.get_run(run_id)
        folder = Path(download_artifacts(run_id=run_id, tracking_uri=tracking_uri))
        config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
        environment = json.loads((folder / "environment.json").read_text(encoding="utf-8"))
        history = pyarrow.parquet.read_table(folder / "history.parquet").to_pylist()
    except (MlflowException, OSError) as error:
        raise RequestError(f"{run_id} is no run of a finished trial in MLflow: {error}") from error
    label = f"{run.data.tags.get('longhaul.search')}/{run.data.tags.get('longhaul.trial')}"
    return Recording(label, config, environment, history)


def repeat(recording: Recording, tolerance: float, progress: Progress) -> Verdict:
    """Trains a recorded trial again from its seed and compares every logged value.

    Args:
        recording: the trial.
        tolerance: largest relative difference that is still ``within tolerance``.
        progress: hears how far it is.
    """
    environment = _like(recording)
    rows: list[Row] = []
    pack = _pack([recording.config], environment["device"])
    # The recorded steps are the points of the curve; a mean since the last point is the same mean
    # only over the same steps.
    for recorded in recording.history:
        for (point,) in pack.train(recorded["step"]):
            rows.append({"step": point.step, **point.metrics})
            progress(point.step, recording.history[-1]["step"])
    different = (
        differences(recording.environment, environment)
        if recording.environment
        else ["the recorded environment is not known"]
    )
    return _compare(recording, rows, tolerance, different)


def study_seeds(recording: Recording, count: int, progress: Progress, first: int = 0) -> SeedStudy:
    """Trains a recorded configuration from fresh seeds, all together as one pack.

    Args:
        recording: the trial.
        count: how many seeds.
        progress: hears how far it is.
        first: number of the first of them: the seeds of two halves are those of the whole.
    """
    seeds = [derive_seed(recording.config["seed"], "fresh", first + i) for i in range(count)]
    pack = _pack([{**recording.config, "seed": seed} for seed in seeds], _like(recording)["device"])
    for points in pack.train():
        progress(points[0].step, pack.steps)
    values: dict[str, list[float | None]] = {"valid/loss": pack.best_loss}
    for name in (tested := pack.test())[0]:
        values[name] = [one[name] for one in tested]
    alive = [divergence is None for divergence in pack.divergences]
    values = {
        name: [value if ok else None for value, ok in zip(row, alive, strict=True)]
        for name, row in values.items()
    }
    summary = {name: interval([v for v in row if v is not None]) for name, row in values.items()}
    return SeedStudy(recording.label, seeds, values, summary, alive.count(False))


def _like(recording: Recording) -> dict[str, Any]:
    """The environment of this process, made as like the recorded one as it can be."""
    # imported here: 2 s
    import torch

    threads = recording.environment.get("threads", 1)
    torch.set_num_threads(threads)
    device = recording.environment.get("device", "cpu")
    if device != "cpu" and not torch.cuda.is_available():
        device = "cpu"
    return capture("cpu" if device == "cpu" else "cuda", threads)


def _pack(configs: Sequence[dict[str, Any]], device: str) -> Any:
    from longhaul_trainers.training.pack import Pack
    from longhaul_trainers.training.settings import TrialConfig

    return Pack(
        [TrialConfig.parse(config) for config in configs], "cpu" if device == "cpu" else "cuda"
    )


def _compare(
    recording: Recording, rows: Sequence[Row], tolerance: float, environment: list[str]
) -> Verdict:
    first: Difference | None = None
    values = equal = 0
    largest = 0.0
    repeated_by_step = {row["step"]: row for row in rows}
    for row in recording.history:
        repeated = repeated_by_step.get(row["step"], {})
        for metric in _compared(row, repeated):
            one, other = row.get(metric), repeated.get(metric)
            values += 1
            if _same(one, other):
                equal += 1
                continue
            largest = max(largest, _relative(one, other))
            first = first or Difference(row["step"], metric, one, other)
    verdict: Literal["identical", "within tolerance", "different"] = "different"
    if first is None and not environment:
        verdict = "identical"
    elif largest <= tolerance:
        verdict = "within tolerance"
    return Verdict(recording.label, verdict, values, equal, largest, tolerance, first, environment)


def _compared(recorded: Row, repeated: Row) -> list[str]:
    """Every logged value but the clock's."""
    names = recorded.keys() | repeated.keys()
    timed = {"step", "time"} | {name for name in names if name.startswith("speed/")}
    return sorted(
        name
        for name in names - timed
        if recorded.get(name) is not None or repeated.get(name) is not None
    )


def _same(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return False
    return one == other or (math.isnan(one) and math.isnan(other))


def _relative(one: float | None, other: float | None) -> float:
    if one is None or other is None or not (math.isfinite(one) and math.isfinite(other)):
        return math.inf
    return abs(one - other) / max(abs(one), abs(other), 1e-12)


def interval(values: Sequence[float]) -> dict[str, float]:
    """Mean, sample deviation and 95 % interval of the mean (Student's t): what can be told."""
    if not values:
        return {}
    mean = statistics.fmean(values)
    if len(values) == 1:
        return {"mean": mean}
    # imported here: 1 s
    from scipy.stats import t

    deviation = statistics.stdev(values)
    half = float(t.ppf(0.975, len(values) - 1)) * deviation / math.sqrt(len(values))
    return {"mean": mean, "deviation": deviation, "low": mean - half, "high": mean + half}
