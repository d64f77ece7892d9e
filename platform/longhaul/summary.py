"""What is said about a search in several places: its best trials, its commands, its words."""

import math
import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from longhaul.ledger import Ledger, SearchRecord, TrialFolder, TrialRecord, TrialState
    from longhaul.spec.objectives import Objective

LOSS = "valid/loss"
OVER_BASELINE = "valid/over_baseline"


def reproduce_command(ledger: "Ledger", trial: int | None = None) -> str:
    """The command that trains a search's best trial again, or trial ``trial``."""
    what = ledger.name if trial is None else f"{ledger.name}/{trial}"
    return command("reproduce", what, ledger=ledger)


def command(*words: str, ledger: "Ledger") -> str:
    """A command about a search, with the storage that it must be told."""
    storage = ledger.storage.uri.removesuffix(f"/{ledger.name}")
    return shlex.join(["longhaul", *words, "--storage", storage])


def objective_of(record: "SearchRecord") -> "Objective":
    """What a search minimises, which says what the values of its trials mean."""
    from longhaul.spec.objectives import recorded_objective

    return recorded_objective(record.objective)


def selection(titles: Iterable[str]) -> str:
    """How the best trials of searches are found, from the titles of their objectives."""
    different = list(dict.fromkeys(titles))
    if different in ([], ["validation loss"]):
        return "lowest validation loss"
    return f"best {', or, as the search says, '.join(different)}"


def ranked(record: "SearchRecord") -> "list[TrialRecord]":
    """The trials that ran all their steps, best first; ties go to the lower number."""
    completed = [trial for trial in record.trials.values() if trial.rank is not None]
    return sorted(completed, key=lambda trial: trial.rank or (math.inf, 0))


def flatten(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of a nested mapping with their dotted paths; lists are leaves."""
    for key, value in config.items():
        path = f"{prefix}.{key}" if prefix else str(key)
        if isinstance(value, Mapping):
            yield from flatten(value, path)
        else:
            yield path, value


def cell_of(trial: "TrialRecord") -> str:
    """The name of the trial's cell."""
    cell = trial.config.get("cell")
    return str(cell.get("name", "") if isinstance(cell, dict) else cell or "")


def hidden_size_of(trial: "TrialRecord") -> int | None:
    """The number of hidden units, None where the configuration has none."""
    cell = trial.config.get("cell")
    return cell.get("hidden_size") if isinstance(cell, dict) else None


def parameters_of(trial: "TrialRecord", result: Mapping[str, Any]) -> int | None:
    """How many parameters are trained, from the events or, of an older version, the result."""
    return result.get("parameters") if trial.parameters is None else trial.parameters


def task_of(trial: "TrialRecord") -> dict[str, Any]:
    """The trial's task settings, as a mapping with a name."""
    task = trial.config.get("task")
    return task if isinstance(task, dict) else {"name": str(task or "")}


def trivial_baseline(folder: "TrialFolder") -> float | None:
    """The loss of the best predictor that remembers nothing, on the trial's task.

    From the trial's result or, before there is one, the quotient of two metrics of its curve; None
    if there is no curve yet.
    """
    recorded = (folder.result() or {}).get("baseline")
    if isinstance(recorded, int | float):
        return float(recorded)
    history = folder.history()
    if not {LOSS, OVER_BASELINE} <= set(history.column_names):
        return None
    pairs = zip(history[LOSS].to_pylist(), history[OVER_BASELINE].to_pylist(), strict=True)
    for loss, ratio in pairs:
        if loss and ratio and math.isfinite(loss) and math.isfinite(ratio):
            return float(loss / ratio)
    return None


def count_words(counts: "Mapping[TrialState, int]", search_state: str) -> str:
    """For example ``12 completed, 3 stopped``; ``no trials`` where there are none.

    A running trial of a search that nobody runs is called interrupted.
    """
    words = {str(state): str(state) for state in counts}
    if search_state != "running":
        words["running"] = "interrupted"
    return ", ".join(f"{n} {words[state]}" for state, n in counts.items() if n) or "no trials"


def number(value: float | None, digits: int = 4) -> str:
    """A number for people, ``-`` where there is none."""
    return "-" if value is None else f"{value:.{digits}g}"


def duration(seconds: float) -> str:
    """A time span for people, for example ``2 h 05 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"
