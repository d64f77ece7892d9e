"""What a search looks like in MLflow: names, tags and parameters, made from the ledger alone.

One experiment per task, one parent run per search, one child run per trial. Nothing here talks to
a server.
"""

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from longhaul import __version__
from longhaul.redaction import redact
from longhaul.summary import cell_of, flatten

if TYPE_CHECKING:
    from longhaul.ledger import TrialRecord
    from longhaul.tracking.facts import SearchFacts

MAX_PARAM = 6000
MAX_TAG = 8000
BEST_LOSS = "valid/best_loss"
"""The objective: a metric of its own, because a run's table shows the *last* ``valid/loss``."""
OBJECTIVE = "objective"
"""The same where a search minimises something else, in its own unit."""
PARAMETERS = "parameters"
"""How many parameters a trial trains, readout included, whatever gave the cell its size."""
ASKED_PARAMETERS = "cell.parameters"

DELIVERED_TAG = "longhaul.delivered_step"
SEARCH_TAG = "longhaul.search"
IDENTITY_TAG = "longhaul.search_id"
TRIAL_TAG = "longhaul.trial"
STATE_TAG = "longhaul.state"
PARENT_TAG = "mlflow.parentRunId"
NOTE_TAG = "mlflow.note.content"

INTERRUPTED = "interrupted"
"""State of a trial that nobody trains at the moment, because its search was interrupted."""

# A stopped trial is KILLED, as MLflow's own Optuna storage has it. A trial whose search was
# interrupted is KILLED too: RUNNING would claim that somebody works on it.
STATUS = {
    "running": "RUNNING",
    "completed": "FINISHED",
    "stopped": "KILLED",
    "diverged": "FAILED",
    "failed": "FAILED",
    INTERRUPTED: "KILLED",
}


def text(value: object) -> str:
    """A configuration value as a parameter's text: numbers exactly, the rest as in JSON."""
    if isinstance(value, str):
        return value[:MAX_PARAM]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return json.dumps(value, ensure_ascii=False, default=str)[:MAX_PARAM]
    return repr(value)


def params(trial: "TrialRecord") -> dict[str, str]:
    """The flattened configuration, the number of trainable parameters, and logarithms.

    MLflow's parallel coordinates have no logarithmic axes; ``..._log10`` is the stand-in for each
    hole on a log scale. ``cell.parameters`` is there where a search asks for several numbers of
    parameters: the configuration has the hidden size that was made of it.
    """
    flat = {key: text(value) for key, value in flatten(trial.config) if key != ASKED_PARAMETERS}
    if trial.parameters is not None:
        flat[PARAMETERS] = text(trial.parameters)
    for name in trial.params:
        if config_path(name, trial.config) == ASKED_PARAMETERS:
            flat[ASKED_PARAMETERS] = text(trial.params[name])
        if is_log_scaled(trial.distributions.get(name)):
            path = config_path(name, trial.config)
            value = trial.params[name]
            if isinstance(value, int | float) and value > 0:
                flat[f"{path}_log10"] = repr(round(math.log10(value), 12))
    return flat


def is_log_scaled(distribution: object) -> bool:
    """Whether an Optuna distribution, as its JSON text or mapping, is logarithmic."""
    if isinstance(distribution, str):
        try:
            distribution = json.loads(distribution)
        except ValueError:
            return False
    if not isinstance(distribution, Mapping):
        return False
    attributes = distribution.get("attributes")
    return isinstance(attributes, Mapping) and bool(attributes.get("log"))


def config_path(name: str, config: Mapping[str, Any]) -> str:
    """The path in a configuration that an Optuna parameter stands for.

    Optuna names hold the label of a branch, configurations do not:

    >>> config_path("cell.exprnn.offset", {"cell": {"name": "exprnn", "offset": 0.1}})
    'cell.offset'
    """
    parts: list[str] = []
    here: object = config
    for part in name.split("."):
        if isinstance(here, Mapping) and part in here:
            parts.append(part)
            here = here[part]
        elif not isinstance(here, Mapping):
            return name
    return ".".join(parts) if parts and not isinstance(here, Mapping) else name


def run_name(trial: "TrialRecord") -> str:
    """For example ``003 exprnn``: sorts by number, and says which cell."""
    return f"{trial.number:03d} {cell_of(trial)}".strip()


def trial_tags(trial: "TrialRecord", state: str) -> dict[str, str]:
    """The tags of a child run that may change while it lives."""
    tags = {STATE_TAG: state}
    if trial.reason and state in ("diverged", "failed"):
        tags["longhaul.reason"] = redact(trial.reason)[:MAX_TAG]
    if trial.attempts:
        tags["longhaul.attempts"] = str(trial.attempts)
    return tags


def identity_tags(facts: "SearchFacts") -> dict[str, str]:
    """The tags that a search's parent run and its children share."""
    user = {"mlflow.user": facts.user} if facts.user else {}
    return user | {
        SEARCH_TAG: facts.name,
        IDENTITY_TAG: facts.identity,
        "longhaul.spec_sha256": facts.spec_sha256,
        "longhaul.version": __version__,
        "mlflow.source.name": "longhaul",
        "mlflow.source.type": "LOCAL",
    }


def task_tags(task: object) -> dict[str, str]:
    """The tags that say which benchmark a run is about."""
    protocol = task.get("protocol") if isinstance(task, Mapping) else None
    return {"longhaul.task": _name_of(task), "longhaul.protocol": str(protocol or "")}


def child_tags(trial: "TrialRecord") -> dict[str, str]:
    """The tags of a child run that never change, apart from those of its search."""
    return {
        TRIAL_TAG: str(trial.number),
        "longhaul.cell": cell_of(trial),
        **task_tags(trial.config.get("task")),
    }


def shown_state(trial: "TrialRecord", searching: bool) -> str:
    """The value of ``longhaul.state``.

    Args:
        trial: the trial.
        searching: whether somebody works on the search; if not, a running trial is interrupted.
    """
    return INTERRUPTED if trial.state == "running" and not searching else str(trial.state)


def _name_of(component: object) -> str:
    if isinstance(component, Mapping):
        return str(component.get("name", ""))
    return str(component or "")
