"""The trials and the curves of a search as one tidy table each.

Trials: one row a trial. Curves: one row a trial and step, wide: a column for each metric, null
where a trial does not measure it. Melt it where a plotting library wants it long.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longhaul import summary
from longhaul.errors import LonghaulError
from longhaul.redaction import redact
from longhaul.summary import flatten

if TYPE_CHECKING:
    import pyarrow as pa

    from longhaul.ledger import Ledger, SearchRecord, TrialRecord
    from longhaul.spec.objectives import Objective

FIXED_COLUMNS = (
    "search", "trial", "state", "value", "reached", "over_baseline", "step", "started", "ended",
    "attempts", "reason", "parameters", "best_step", "baseline",
)  # fmt: skip
_WHOLE = ("trial", "step", "attempts", "parameters", "best_step")
_TIMES = ("started", "ended")
_TEXTS = ("search", "state", "reason")


def trials_table(ledger: "Ledger", record: "SearchRecord") -> "pa.Table":
    """One row a trial, in the order of their numbers.

    Columns: ``search``, ``trial``, ``state``, ``value`` (what the search minimises: the best
    validation loss, unless its objective is another; lower is better), ``reached`` (the same in its
    own unit; null where a trial did not solve its task), ``over_baseline`` (the loss that the value
    tells of, divided by the trivial baseline), ``step`` (training steps done),
    ``started`` and ``ended`` (UTC), ``attempts``, ``reason``, ``parameters`` (their count),
    ``best_step``, ``baseline``, the measurements on the test set (``test/...``), and the
    configuration under its dotted paths (``cell.name``, ``training.optimizer.learning_rate``,
    ``seed``, ...).
    """
    import pyarrow as pa

    objective = summary.objective_of(record)
    rows = [_row(ledger, trial, objective) for trial in record.trials.values()]
    tests = sorted({key for row in rows for key in row if key.startswith("test/")})
    others = {key: None for row in rows for key in row if key not in FIXED_COLUMNS}
    names = [*FIXED_COLUMNS, *tests, *(key for key in others if key not in tests)]
    columns = {name: [row.get(name) for row in rows] for name in names}
    return pa.table({name: _array(name, values) for name, values in columns.items()})


def write_trials(ledger: "Ledger", record: "SearchRecord", path: Path) -> int:
    """Writes `trials_table` to a Parquet file, whole or not at all.

    Returns:
        The number of rows.
    """
    import pyarrow.parquet as pq

    table = trials_table(ledger, record)
    with _replacing(path) as temporary:
        pq.write_table(table, temporary)
    return int(table.num_rows)


def write_curves(ledger: "Ledger", record: "SearchRecord", path: Path) -> int:
    """Writes all curves to a Parquet file, trial by trial, so that memory does not grow with them.

    One row a trial and step, in that order: ``trial``, ``step``, ``time`` (UTC) and the metrics.

    Returns:
        The number of rows.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schemas = [_curve(ledger, number).schema for number in record.trials]
    schema = pa.unify_schemas([_curve_schema(), *schemas])
    rows = 0
    with _replacing(path) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        for number in record.trials:
            curve = _curve(ledger, number)
            for field in schema:
                if field.name not in curve.column_names:
                    curve = curve.append_column(field, pa.nulls(curve.num_rows, field.type))
            writer.write_table(curve.select(schema.names))
            rows += curve.num_rows
    return rows


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A temporary file that takes the place of ``path`` once it is complete."""
    if not path.parent.is_dir():
        raise LonghaulError(f"cannot write {path}: there is no folder {path.parent}")
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise LonghaulError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _row(ledger: "Ledger", trial: "TrialRecord", objective: "Objective") -> dict[str, Any]:
    folder = ledger.trial(trial.number)
    result = folder.result() or {}
    baseline = summary.trivial_baseline(folder)
    row = {
        "search": ledger.name,
        "trial": trial.number,
        "state": str(trial.state),
        "value": trial.value,
        "reached": objective.reached(trial.value),
        "over_baseline": objective.over_baseline(trial.value, baseline),
        "step": trial.step,
        "started": trial.started,
        "ended": trial.ended,
        "attempts": trial.attempts,
        "reason": redact(trial.reason) if trial.reason else None,
        "parameters": summary.parameters_of(trial, result),
        "best_step": result.get("best_step"),
        "baseline": baseline,
    }
    tests = {key: value for key, value in result.items() if key.startswith("test/")}
    return row | tests | dict(flatten(trial.config))


def _array(name: str, values: list[Any]) -> "pa.Array":
    import pyarrow as pa

    if name in _TIMES:
        return pa.array(values, pa.timestamp("us", tz="UTC"))
    if name in _TEXTS:
        return pa.array(values, pa.string())
    if name in _WHOLE or name == "seed":
        return pa.array(values, pa.int64())
    if name in FIXED_COLUMNS or name.startswith("test/"):
        return pa.array(values, pa.float64())
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int, float}:
        return pa.array([None if v is None else float(v) for v in values], pa.float64())
    if len(kinds) <= 1 and not kinds & {list, dict, tuple}:
        return pa.array(values)
    return pa.array([None if v is None else str(v) for v in values], pa.string())


def _curve(ledger: "Ledger", number: int) -> "pa.Table":
    import pyarrow as pa

    history = ledger.trial(number).history()
    numbers = pa.array([number] * history.num_rows, pa.int64())
    return history.add_column(0, pa.field("trial", pa.int64()), numbers)


def _curve_schema() -> "pa.Schema":
    import pyarrow as pa

    time = pa.timestamp("us", tz="UTC")
    return pa.schema([("trial", pa.int64()), ("step", pa.int64()), ("time", time)])
