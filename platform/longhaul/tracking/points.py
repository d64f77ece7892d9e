"""A trial's curve as MLflow metrics."""

from typing import TYPE_CHECKING

from longhaul.tracking.layout import BEST_LOSS, OBJECTIVE
from longhaul.tracking.runs import milliseconds

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa
    from mlflow.entities import Metric

    from longhaul.ledger import TrialFolder, TrialRecord
    from longhaul.spec.objectives import Objective

NOT_METRICS = ("step", "time")


def curve_metrics(history: "pa.Table", delivered: "Mapping[str, int]") -> "list[Metric]":
    """The points that a run does not have yet, in the order of the training steps.

    Times come from the ledger, so that a point sent twice is the same point.

    Args:
        history: rows of a trial, sorted by step.
        delivered: for each metric, the last step that MLflow has.
    """
    from mlflow.entities import Metric

    names = [name for name in history.column_names if name not in NOT_METRICS]
    return [
        Metric(name, float(row[name]), milliseconds(row["time"]), int(row["step"]))
        for row in history.to_pylist()
        for name in names
        if row[name] is not None and row["step"] > delivered.get(name, -1)
    ]


def closing_metrics(
    folder: "TrialFolder",
    trial: "TrialRecord",
    delivered: "Mapping[str, int]",
    objective: "Objective",
) -> "list[Metric]":
    """The numbers of a trial that has ended: its objective and its test measurements."""
    from mlflow.entities import Metric

    if trial.ended is None:
        return []
    values = test_metrics(folder.result())
    reached = objective.reached(trial.value)
    if reached is not None:
        name = BEST_LOSS if objective.name == "loss" else OBJECTIVE
        values[name] = reached
    return [
        Metric(name, value, milliseconds(trial.ended), trial.step)
        for name, value in values.items()
        if delivered.get(name, -1) < trial.step
    ]


def test_metrics(result: "Mapping[str, object] | None") -> dict[str, float]:
    """What was measured on the test set, by full names; empty if nothing was."""
    return {
        name: float(value)
        for name, value in (result or {}).items()
        if name.startswith("test/") and isinstance(value, int | float)
    }
