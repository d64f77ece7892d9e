"""The text on a search's parent run: what came out, and the command that reproduces it."""

from typing import TYPE_CHECKING

from longhaul import summary
from longhaul.tracking.layout import MAX_TAG

if TYPE_CHECKING:
    from longhaul.ledger import Ledger, SearchRecord

SHOWN = 10


def describe(ledger: "Ledger", record: "SearchRecord") -> str:
    """Markdown of at most 8000 characters, which is where MLflow would cut it."""
    texts = (_text(ledger, record, shown) for shown in range(SHOWN, -1, -1))
    fitting = (text for text in texts if len(text) <= MAX_TAG)
    return next(fitting, "") or _text(ledger, record, 0)[:MAX_TAG]


def _text(ledger: "Ledger", record: "SearchRecord", shown: int) -> str:
    lines = [f"Search **{record.name}**: {summary.count_words(record.counts(), record.state)}.", ""]
    ranked = summary.ranked(record)
    if not ranked:
        lines.append("No trial has run all its steps yet.")
    else:
        best = ranked[0]
        baseline = summary.trivial_baseline(ledger.trial(best.number))
        objective = summary.objective_of(record)
        heading = "best validation loss" if objective.name == "loss" else objective.title
        lines += [
            # Before the table, of which MLflow shows the first lines until somebody asks for more.
            f"Reproduce the best: `{summary.reproduce_command(ledger)}`",
            "",
            f"| trial | cell | {heading} | times the trivial baseline | steps |",
            "|---:|---|---:|---:|---:|",
        ]
        for trial in ranked[:shown]:
            ratio = objective.over_baseline(trial.value, baseline)
            lines.append(
                f"| {trial.number} | {summary.cell_of(trial)} | {objective.text(trial.value)} "
                f"| {summary.number(ratio, 3)} | {trial.step} |"
            )
        lines += [
            "",
            "Selected by validation among the trials that ran all their steps.",
        ]
    if record.steps_saved:
        lines += ["", f"Early stopping saved {record.steps_saved:,} training steps."]
    return "\n".join(lines)
