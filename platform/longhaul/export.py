"""The trials and the curves of a search as one tidy table each.

Trials: one row a trial. Curves: one row a trial and step, wide: a column for each metric, null
where a trial does not measure it. Melt it where a plotting library wants it long.
"""

from typing import TYPE_CHECKING, Any

from longhaul import summary
from longhaul.summary import flatten

if TYPE_CHECKING:
    import pyarrow as pa

    from longhaul.ledger import Ledger, SearchRecord, TrialRecord

FIXED_COLUMNS = (
    "search", "trial", "state", "value", "over_baseline", "step", "started", "ended",
    "attempts", "reason", "parameters", "best_step", "baseline",
)  # fmt: skip
_RESULT_COLUMNS = ("parameters", "best_step", "baseline")
_WHOLE = ("trial", "step", "attempts", "parameters", "best_step")
_TIMES = ("started", "ended")
_TEXTS = ("search", "state", "reason")


def trials_table(ledger: "Ledger", record: "SearchRecord") -> "pa.Table":
    """One row a trial, in the order of their numbers.

    Columns: ``search``, ``trial``, ``state``, ``value`` (best validation loss; lower is better),
    ``over_baseline`` (that, divided by the trivial baseline), ``step`` (training steps done),
    ``started`` and ``ended`` (UTC), ``attempts``, ``reason``, ``parameters`` (their count),
    ``best_step``, ``baseline``, the measurements on the test set (``test/...``), and the
    configuration under its dotted paths (``cell.name``, ``training.optimizer.learning_rate``,
    ``seed``, ...).
    """
    import pyarrow as pa

    rows = [_row(ledger, trial) for trial in record.trials.values()]
    tests = sorted({key for row in rows for key in row if key.startswith("test/")})
    others = {key: None for row in rows for key in row if key not in FIXED_COLUMNS}
    names = [*FIXED_COLUMNS, *tests, *(key for key in others if key not in tests)]
    columns = {name: [row.get(name) for row in rows] for name in names}
    return pa.table({name: _array(name, values) for name, values in columns.items()})


def curves_table(ledger: "Ledger", record: "SearchRecord") -> "pa.Table":
    """One row a trial and step, in that order: ``trial``, ``step``, ``time`` and the metrics."""
    import pyarrow as pa

    tables = [_curve(ledger, number) for number in record.trials]
    return pa.concat_tables(tables or [_no_curve()], promote_options="default")


def write_curves(ledger: "Ledger", record: "SearchRecord", path: str) -> int:
    """Writes `curves_table` to a Parquet file, trial by trial, in constant memory.

    Returns:
        The number of rows.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schemas = [_curve(ledger, number).schema for number in record.trials]
    schema = pa.unify_schemas([_no_curve().schema, *schemas])
    rows = 0
    with pq.ParquetWriter(path, schema) as writer:
        for number in record.trials:
            table = _curve(ledger, number)
            missing = [field for field in schema if field.name not in table.column_names]
            for field in missing:
                table = table.append_column(field, pa.nulls(table.num_rows, field.type))
            writer.write_table(table.select(schema.names))
            rows += table.num_rows
    return rows


def _row(ledger: "Ledger", trial: "TrialRecord") -> dict[str, Any]:
    folder = ledger.trial(trial.number)
    result = folder.result() or {}
    baseline = summary.trivial_baseline(folder)
    row = {
        "search": ledger.name,
        "trial": trial.number,
        "state": str(trial.state),
        "value": trial.value,
        "over_baseline": summary.over(trial.value, baseline),
        "step": trial.step,
        "started": trial.started,
        "ended": trial.ended,
        "attempts": trial.attempts,
        "reason": trial.reason,
        **{name: result.get(name) for name in _RESULT_COLUMNS},
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


def _no_curve() -> "pa.Table":
    import pyarrow as pa

    fields = [("trial", pa.int64()), ("step", pa.int64()), ("time", pa.timestamp("us", tz="UTC"))]
    return pa.schema(fields).empty_table()
