"""Files that accompany runs in MLflow, laid out in a folder before they are sent."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from longhaul.redaction import redact
from longhaul.spec.writing import to_yaml
from longhaul.summary import trivial_baseline

if TYPE_CHECKING:
    from longhaul.ledger import Ledger, SearchRecord, TrialFolder, TrialRecord


def stage_trial(folder: "TrialFolder", trial: "TrialRecord", target: str) -> None:
    """Puts a trial's files into the folder ``target``; what the trial lacks is left out.

    Configuration, environment and history always; of a completed trial also the best weights and
    its curves as a picture; of a failed one what went wrong.
    """
    import pyarrow.parquet as pq

    root = Path(target)
    (root / "config.yaml").write_text(to_yaml(trial.config), encoding="utf-8")
    environment = folder.environment()
    if environment:
        text = json.dumps(environment, indent=2, ensure_ascii=False)
        (root / "environment.json").write_text(text, encoding="utf-8")
    history = folder.history()
    if history.num_rows:
        pq.write_table(history, root / "history.parquet")
    error = folder.error()
    if error:
        (root / "error.txt").write_text(redact(error), encoding="utf-8")
    if trial.state != "completed":
        return
    weights = folder.weights()
    if weights:
        (root / "weights").mkdir()
        (root / "weights" / "best.safetensors").write_bytes(weights)
    if history.num_rows:
        from longhaul.report.curves import trial_picture

        trial_picture(history, trial, trivial_baseline(folder), root / "curves.png")


def stage_search(ledger: "Ledger", record: "SearchRecord", target: str, *, results: bool) -> None:
    """Puts a search's files into the folder ``target``.

    Args:
        ledger: the search.
        record: its record.
        target: an empty folder.
        results: whether the table of trials and the report are wanted too.
    """
    root = Path(target)
    (root / "spec.yaml").write_text(ledger.spec_text(), encoding="utf-8")
    environment = json.dumps(ledger.environment(), indent=2, ensure_ascii=False)
    (root / "environment.json").write_text(environment, encoding="utf-8")
    if not results:
        return
    import pyarrow.parquet as pq

    from longhaul.export import trials_table
    from longhaul.report import render

    pq.write_table(trials_table(ledger, record), root / "trials.parquet")
    (root / "report.html").write_text(render(ledger, record), encoding="utf-8")
