"""What every table of a comparison says, for the terminal, for Markdown and for a web page."""

from collections.abc import Mapping
from typing import Any

from longhaul import summary
from longhaul.comparison.table import Comparison, Published, Row, TaskTable
from longhaul.spec.objectives import LOSS

HEADINGS = ["", "cell", "units", "parameters", "trials", "steps in all", "validation loss"]
"""Of the columns before the scores."""


def rules(comparison: Comparison) -> list[str]:
    """Budget, selection, seeds and intervals: without them the numbers say nothing."""
    lines = [f"Budget of each search: {_budget(comparison)}."]
    unequal = _unequal(comparison)
    if unequal:
        lines.append(f"The searches did not get the same: {unequal}.")
    lines += [
        f"Selection: the configuration with the {_selected(comparison)} among the trials that ran "
        "all their steps; the test set has no say.",
        f"Scores: on the test set, by the weights that validated best, over {comparison.seeds} "
        "fresh seeds that the search did not see; mean and 95 % confidence interval of the mean "
        "(Student's t). The interval tells how much trainings of this configuration vary, not "
        "what another search would have found.",
    ]
    if any(row.diverged for table in comparison.tables for row in table.rows):
        lines.append("Seeds that diverged are counted, and left out of mean and interval.")
    return lines


def _selected(comparison: Comparison) -> str:
    return summary.selection(row.selected_by for table in comparison.tables for row in table.rows)


def heading(table: TaskTable) -> str:
    """What a table is about."""
    if not table.task:
        return "Not begun"
    rest = [
        f"{key} {value}"
        for key, value in table.task.items()
        if key not in ("name", "protocol") and value is not None
    ]
    return ", ".join([f"{table.task['name']} as {table.protocol}", *rest])


def baseline(table: TaskTable) -> str:
    """What a predictor reaches that remembers nothing."""
    if table.baseline is None:
        return "unknown, for the data is not here"
    scores = {"loss": table.baseline} | dict(table.baseline_metrics)
    return ", ".join(f"{name} {summary.number(value)}" for name, value in scores.items())


def columns(table: TaskTable) -> list[str]:
    """The headings of a table."""
    scores = [f"test {table.metric}", "95 % interval"]
    if table.metric != "loss":
        scores.append("test loss")
    published = ["published"] if any(row.published for row in table.rows) else []
    return [*HEADINGS[:-1], *_sought(table), HEADINGS[-1], *scores, "seeds", *published]


def is_number(heading: str) -> bool:
    """Whether what stands under a heading is a number."""
    kinds = ("test ", "validation ")
    return heading in HEADINGS[2:] or heading.startswith(kinds) or heading == "seeds"


def cells(table: TaskTable, row: Row) -> list[str]:
    """The texts of one row, under `columns`."""
    trials = f"{row.trials:,}" if row.state == "completed" else f"{row.trials:,} ({row.state})"
    score = row.scores.get(table.metric, {})
    texts = [
        row.label,
        row.cell or "-",
        _count(row.hidden_size),
        _count(row.parameters),
        trials,
        f"{row.steps_trained:,}",
        *([row.selected or "-"] if _sought(table) else []),
        summary.number(row.valid_loss),
        summary.number(score.get("mean")),
        _interval(score),
    ]
    if table.metric != "loss":
        texts.append(summary.number(row.scores.get("loss", {}).get("mean")))
    texts.append(f"{row.seeds}" + (f" ({row.diverged} diverged)" if row.diverged else ""))
    if any(one.published for one in table.rows):
        texts.append(_score(row.published))
    return texts


def notes(table: TaskTable) -> list[str]:
    """What must be known before the published scores are compared with ours."""
    if not any(row.published for row in table.rows):
        return []
    lines = [f"Published: {table.source}."]
    if table.selects_on_test:
        lines.append("Its scores are the best on the test set over the epochs; ours are not.")
    for row in table.rows:
        if row.published is not None:
            said = [row.published.note]
            if row.published.metric != table.metric:
                said.append(f"{row.published.metric}, not {table.metric}")
            if row.published.elsewhere:
                said.append(f"with {row.published.elsewhere}, not as here")
            beside = "; ".join(part for part in said if part)
            if beside:
                lines.append(f"{row.published.model}: {beside}.")
    if table.defects:
        lines.append(f"Differs: {table.defects}")
    return lines


def _sought(table: TaskTable) -> list[str]:
    """The heading of what the searches looked for; none where it is the validation loss."""
    titles = list(dict.fromkeys(row.selected_by for row in table.rows if row.state != "not begun"))
    if titles in ([], [LOSS.title]):
        return []
    return titles if len(titles) == 1 else ["by its objective"]


def _budget(comparison: Comparison) -> str:
    budget = comparison.budget
    parts = []
    if budget.get("trials") is not None:
        parts.append(f"{budget['trials']:,} trials")
    steps = {row.steps for table in comparison.tables for row in table.rows if row.steps}
    if len(steps) == 1:
        parts.append(f"{next(iter(steps)):,} training steps a trial")
    elif steps:
        parts.append("as many training steps a trial as the task's table says")
    if budget.get("seconds") is not None:
        parts.append(f"{summary.duration(budget['seconds'])} in which trials may begin")
    return ", ".join([*parts, _scheduler(budget.get("scheduler") or {})])


def _scheduler(scheduler: Mapping[str, Any]) -> str:
    if scheduler.get("name") != "asha":
        return "no trial is stopped early"
    factor = scheduler["reduction_factor"]
    return f"ASHA lets one in {factor} go on from each rung"


def _unequal(comparison: Comparison) -> str:
    """Where the searches were not what the budget says, for example for a later extension."""
    wanted = comparison.budget.get("trials")
    seconds = comparison.budget.get("seconds")
    if wanted is None or seconds is not None:
        return ""
    other = [
        f"{row.label} has {row.trials} trials"
        for table in comparison.tables
        for row in table.rows
        if row.state != "not begun" and row.trials != wanted
    ]
    return ", ".join(other)


def _interval(score: Mapping[str, float]) -> str:
    if "low" not in score:
        return "-"
    return f"{summary.number(score['low'])} to {summary.number(score['high'])}"


def _score(published: Published | None) -> str:
    if published is None:
        return "-"
    elsewhere = f", {published.elsewhere}" if published.elsewhere else ""
    return f"{summary.number(published.value)} ({published.model}{elsewhere})"


def _count(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"
