"""Pictures of learning curves."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

from longhaul.report.drawing import BASELINE_COLOUR, INK, colours, plain_log_ticks, to_svg
from longhaul.summary import LOSS, cell_of, ranked

if TYPE_CHECKING:
    import pyarrow as pa

    from longhaul.ledger import Ledger, SearchRecord, TrialRecord

CURVES = 300
POINTS = 400
"""So many points of a curve are drawn at most: more than the picture has room for."""


def trial_picture(
    history: "pa.Table", trial: "TrialRecord", baseline: float | None, path: Path
) -> None:
    """Writes one trial's losses over its training steps as a PNG picture.

    Args:
        history: the trial's curve.
        trial: for the title.
        baseline: loss of the best predictor that remembers nothing; None leaves it out.
        path: the file.
    """
    from matplotlib.figure import Figure  # imported here: 0.5 s

    figure = Figure(figsize=(7, 4), dpi=110)
    figure.subplots_adjust(left=0.11, right=0.97, bottom=0.13, top=0.91)
    axes = figure.subplots()
    steps = history["step"].to_pylist()
    for name, colour in (("train/loss", "#a9b6c8"), (LOSS, "#1f5fbf")):
        if name in history.column_names:
            axes.plot(steps, positive(history[name].to_pylist()), color=colour, label=name)
    if baseline:
        axes.axhline(baseline, color=BASELINE_COLOUR, ls="--", lw=1, label="trivial baseline")
    axes.set(yscale="log", xlabel="training step", ylabel="loss")
    axes.set_title(f"trial {trial.number}, {cell_of(trial)}", fontsize=11)
    axes.grid(alpha=0.25)
    plain_log_ticks(axes.yaxis)
    axes.legend(frameon=False)
    figure.savefig(path)


def search_curves(
    ledger: "Ledger", record: "SearchRecord", baseline: float | None
) -> tuple[str, int]:
    """The validation losses of all trials over their training steps.

    Trials that ran all their steps are drawn strongly, the best one most; a cross marks where a
    trial diverged or failed.

    Returns:
        An SVG element, and how many curves it has: at most `CURVES`, the best ones.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.4, 4.6))
    figure.subplots_adjust(left=0.075, right=0.985, bottom=0.11, top=0.91)
    axes = figure.subplots()
    by_cell = colours(record)
    drawn = _chosen(record)
    best = record.best()
    for trial in reversed(drawn):
        steps, losses = _curve(ledger, trial.number)
        if all(math.isnan(loss) for loss in losses):
            continue
        cell = cell_of(trial)
        strong, winner = trial.state == "completed", best is not None and trial is best
        axes.plot(
            steps,
            losses,
            color=by_cell[cell],
            alpha=1.0 if strong else 0.45,
            lw=2.8 if winner else 1.3 if strong else 0.9,
            zorder=4 if winner else 3 if strong else 2,
        )
        if trial.state in ("diverged", "failed"):
            _mark_end(axes, steps, losses, by_cell[cell])
        if winner:
            axes.annotate(
                f"trial {trial.number}", (steps[-1], losses[-1]), xytext=(-4, -13),
                textcoords="offset points", ha="right", color=INK, fontsize=9,
            )  # fmt: skip
    if baseline:
        axes.axhline(baseline, color=BASELINE_COLOUR, ls="--", lw=1.2, label="trivial baseline")
    axes.set(xlabel="training step", ylabel="validation loss")
    if axes.has_data():
        axes.set_yscale("log")
        plain_log_ticks(axes.yaxis)
    axes.margins(x=0.01)
    axes.grid(alpha=0.3)
    for cell, colour in by_cell.items():
        axes.plot([], [], color=colour, lw=2, label=cell)
    axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=6)
    return to_svg(figure, "curves"), len(drawn)


def positive(values: list[float | None]) -> list[float]:
    """Values for a logarithmic axis: what cannot be drawn becomes a gap."""
    return [
        value if value is not None and math.isfinite(value) and value > 0 else math.nan
        for value in values
    ]


def _chosen(record: "SearchRecord") -> "list[TrialRecord]":
    """The trials to draw, the best first."""
    first = ranked(record)
    rest = [trial for trial in record.trials.values() if trial.rank is None]
    rest.sort(key=lambda trial: -trial.step)
    return (first + rest)[:CURVES]


def _curve(ledger: "Ledger", number: int) -> tuple[list[int], list[float]]:
    history = ledger.trial(number).history()
    if LOSS not in history.column_names:
        return [], []
    stride = max(1, math.ceil(history.num_rows / POINTS))
    # The last point always stays: it is where the curve ends.
    steps = history["step"].to_pylist()
    losses = positive(history[LOSS].to_pylist())
    kept = sorted({*range(0, len(steps), stride), len(steps) - 1} if steps else ())
    return [steps[i] for i in kept], [losses[i] for i in kept]


def _mark_end(axes: object, steps: list[int], losses: list[float], colour: str) -> None:
    ends = [(s, v) for s, v in zip(steps, losses, strict=True) if not math.isnan(v)]
    if ends:
        axes.plot(*ends[-1], marker="x", color=colour, ms=7, mew=2, zorder=5)  # type: ignore[attr-defined]
