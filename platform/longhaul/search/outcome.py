"""How a search ended, for people and for programs."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from longhaul.ledger import SearchRecord, SearchState, TrialRecord, TrialState
from longhaul.spec.objectives import Objective
from longhaul.summary import objective_of

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class CellOutcome:
    """What one cell reached in a search.

    Attributes:
        cell: its name.
        trials, finished: how many trials it had, and how many of them ran all their steps.
        value, trial: the best value of any of its trials and that trial's number; a trial that was
            stopped early counts with what it had reached.
        shown: the value for people.
        over_baseline: the loss that it tells of over the trivial baseline, if any.
        step: how far that trial ran.
    """

    cell: str
    trials: int
    finished: int
    value: float | None
    trial: int | None
    step: int | None
    shown: str = "-"
    over_baseline: float | None = None


@dataclass(frozen=True)
class Outcome:
    """A search's result.

    Attributes:
        name: the search's.
        state: completed, interrupted or failed.
        reason: why it did not complete, or which budget ended it; None where all trials ran.
        counts: trials by state.
        best: number of the best trial among those that ran all their steps; None without one.
        value: what the search minimised, of that trial.
        shown: the value for people.
        objective: what the value is.
        heading: the same in a table.
        over_baseline: the loss that the value tells of over the trivial baseline, if any.
        baseline: the task's trivial baseline.
        params: its searched values by dotted name.
        config: its whole configuration.
        cells: per cell, best first.
        steps_trained: training steps of all trials.
        steps_saved: how many more they would have been without early stopping.
    """

    name: str
    state: SearchState
    reason: str | None
    counts: Mapping[str, int]
    best: int | None
    value: float | None
    baseline: float
    params: Mapping[str, Any] | None
    config: Mapping[str, Any] | None
    cells: list[CellOutcome]
    steps_trained: int
    steps_saved: int
    shown: str
    objective: str
    heading: str
    over_baseline: float | None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def outcome(
    record: SearchRecord, baseline: float, state: SearchState, reason: str | None
) -> Outcome:
    """Summarises a search.

    Args:
        record: the search as recorded.
        baseline: the task's trivial baseline.
        state: completed, interrupted or failed.
        reason: why it did not complete.
    """
    best, objective = record.best(), objective_of(record)
    value = None if best is None else best.value
    return Outcome(
        name=record.name,
        state=state,
        reason=reason,
        counts={str(state): n for state, n in record.counts().items() if n},
        best=None if best is None else best.number,
        value=value,
        baseline=baseline,
        params=None if best is None else best.params,
        config=None if best is None else best.config,
        cells=_by_cell(record, objective, baseline),
        steps_trained=record.steps_trained,
        steps_saved=record.steps_saved,
        shown=objective.text(value),
        objective=objective.title,
        heading=objective.heading,
        over_baseline=objective.over_baseline(value, baseline),
    )


def cell_table(result: Outcome) -> "Table":
    """The cells of a search, best first."""
    # imported here: 0.1 s
    from rich.table import Table

    table = Table(title_justify="left", box=None, pad_edge=False)
    ratios = any(one.over_baseline is not None for one in result.cells)
    columns = ["cell", "trials", "ran to the end", result.heading]
    for heading in [*columns, *(["× baseline"] if ratios else []), "of trial"]:
        table.add_column(heading, justify="left" if heading == "cell" else "right")
    for one in result.cells:
        known = one.value is not None
        table.add_row(
            one.cell,
            str(one.trials),
            str(one.finished),
            one.shown,
            *([_ratio(one.over_baseline)] if ratios else []),
            f"{one.trial} (step {one.step})" if known else "-",
        )
    return table


def summary_lines(result: Outcome) -> list[str]:
    """What a finished search says, one line each."""
    states = ", ".join(f"{n} {state}" for state, n in result.counts.items() if n)
    lines = [f"{sum(result.counts.values())} trials: {states}"]
    if result.value is not None:
        best = f"best: trial {result.best}, {result.objective} {result.shown}"
        ratio = result.over_baseline
        lines.append(best if ratio is None else f"{best}, {_against(ratio, result.baseline)}")
    if result.steps_saved:
        whole = result.steps_trained + result.steps_saved
        share = 100 * result.steps_saved / whole
        lines.append(
            f"early stopping saved {result.steps_saved:,} of {whole:,} training steps "
            f"({share:.0f} %)"
        )
    return lines


def _ratio(over_baseline: float | None) -> str:
    return "-" if over_baseline is None else f"{over_baseline:.3f}"


def _against(ratio: float, baseline: float) -> str:
    shown = f"the trivial baseline {baseline:.4f}"
    if ratio <= 0:
        return f"far below {shown}"
    if ratio <= 1:
        return f"{1 / ratio:.1f} times below {shown}"
    return f"{ratio:.1f} times above {shown}"


def _by_cell(record: SearchRecord, objective: Objective, baseline: float) -> list[CellOutcome]:
    cells: dict[str, list[TrialRecord]] = {}
    for trial in record.trials.values():
        cells.setdefault(trial.config["cell"]["name"], []).append(trial)
    outcomes = []
    for cell, trials in cells.items():
        reported = [one for one in trials if one.value is not None and one.step]
        best = min(reported, key=lambda one: (one.value, one.number), default=None)
        finished = sum(one.state is TrialState.COMPLETED for one in trials)
        if best is None:
            outcomes.append(CellOutcome(cell, len(trials), finished, None, None, None))
        else:
            outcomes.append(
                CellOutcome(
                    cell,
                    len(trials),
                    finished,
                    best.value,
                    best.number,
                    best.step,
                    objective.text(best.value),
                    objective.over_baseline(best.value, baseline),
                )
            )
    return sorted(outcomes, key=lambda one: (one.value is None, one.value or 0, one.cell))
