"""Pictures of learning curves."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

from longhaul.summary import LOSS, cell_of

if TYPE_CHECKING:
    import pyarrow as pa

    from longhaul.ledger import TrialRecord


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

    figure = Figure(figsize=(7, 4), dpi=110, layout="constrained")
    axes = figure.subplots()
    steps = history["step"].to_pylist()
    for name, colour in (("train/loss", "#b9c3d3"), (LOSS, "#1f5fbf")):
        if name in history.column_names:
            axes.plot(steps, positive(history[name].to_pylist()), color=colour, label=name)
    if baseline:
        axes.axhline(baseline, color="#888888", linestyle="--", linewidth=1, label="baseline")
    axes.set(yscale="log", xlabel="training step", ylabel="loss")
    axes.set_title(f"trial {trial.number}, {cell_of(trial)}", fontsize=11)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    figure.savefig(path)


def positive(values: list[float | None]) -> list[float]:
    """Values for a logarithmic axis: what cannot be drawn becomes a gap."""
    return [
        value if value is not None and math.isfinite(value) and value > 0 else math.nan
        for value in values
    ]
