"""Pictures of the value against each searched hyperparameter."""

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from longhaul.report.drawing import BASELINE_COLOUR, colours, plain_log_ticks, to_svg
from longhaul.summary import cell_of, objective_of

if TYPE_CHECKING:
    from longhaul.ledger import SearchRecord, TrialRecord
    from longhaul.spec.objectives import Objective

FEW = 24
"""So many pictures at most."""


def pictures(record: "SearchRecord", baseline: float | None) -> dict[str, str]:
    """One SVG element for each hyperparameter, by its name, in the order of the space.

    Trials that ran all their steps are filled: only these can be compared. The others are hollow,
    and stand at the best loss they had when they were stopped.
    """
    names: dict[str, None] = {}
    for trial in record.trials.values():
        if _drawable(trial):
            names.update(dict.fromkeys(trial.params))
    return {name: _picture(record, name, baseline) for name in list(names)[:FEW]}


def _picture(record: "SearchRecord", name: str, baseline: float | None) -> str:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.5, 2.7))
    figure.subplots_adjust(left=0.19, right=0.97, bottom=0.12, top=0.89)
    axes = figure.subplots()
    by_cell, objective = colours(record), objective_of(record)
    places = _places(record, name)
    for filled, trials in zip((False, True), split(record, name), strict=True):
        shades = [by_cell[cell_of(one)] for one in trials]
        axes.scatter(
            [_place(places, one.params[name], one.number) for one in trials],
            [_height(objective, one) for one in trials],
            s=30,
            facecolors=shades if filled else "none",
            edgecolors=shades,
            linewidths=1.2,
            alpha=0.9 if filled else 0.55,
            zorder=3,
        )
    if baseline and objective.name == "loss":
        axes.axhline(baseline, color=BASELINE_COLOUR, ls="--", lw=1)
    if not _maximised(objective):
        axes.set_yscale("log")
        plain_log_ticks(axes.yaxis)
    if places is not None:
        axes.set_xticks(list(places.values()), [_short(label) for label in places])
        axes.set_xlim(-0.6, len(places) - 0.4)
    elif _is_log(record, name):
        axes.set_xscale("log")
        plain_log_ticks(axes.xaxis, subs=(1.0, 3.0))
    axes.set_title(_short(name, 44), fontsize=9, loc="left")
    axes.set_ylabel(objective.heading, fontsize=9)
    axes.tick_params(labelsize=8, which="both")
    axes.grid(alpha=0.3)
    return to_svg(figure, name)


def split(record: "SearchRecord", name: str) -> "tuple[list[TrialRecord], list[TrialRecord]]":
    """The trials with a hyperparameter: those stopped early, and those that can be compared."""
    trials = [one for one in record.trials.values() if name in one.params and _drawable(one)]
    return [one for one in trials if one.rank is None], [one for one in trials if one.rank]


def _drawable(trial: "TrialRecord") -> bool:
    return trial.value is not None and math.isfinite(trial.value)


def _maximised(objective: "Objective") -> bool:
    return getattr(objective, "better", None) == "higher"


def _height(objective: "Objective", trial: "TrialRecord") -> float:
    """Where a trial stands; one that did not solve its task above all that did."""
    reached = objective.reached(trial.value)
    height = (trial.value if reached is None else reached) or 0.0
    # a logarithmic axis has no place for what is not above zero
    return height if height > 0 or _maximised(objective) else math.nan


def _places(record: "SearchRecord", name: str) -> dict[str, int] | None:
    """Where each option of a choice stands; None for a number."""
    options: dict[str, None] = {}
    numeric = True
    for trial in record.trials.values():
        if name in trial.params:
            value = trial.params[name]
            numeric = numeric and isinstance(value, int | float) and not isinstance(value, bool)
            options[str(value)] = None
    if numeric and _distribution(record, name).get("name") != "CategoricalDistribution":
        return None
    return {option: place for place, option in enumerate(sorted(options))}


def _place(places: dict[str, int] | None, value: Any, number: int) -> float:
    if places is None:
        return float(value)
    # Spread by number, so that trials with the same option do not hide one another.
    return places[str(value)] + ((number * 7) % 11 - 5) / 22


def _is_log(record: "SearchRecord", name: str) -> bool:
    attributes = _distribution(record, name).get("attributes")
    return isinstance(attributes, Mapping) and bool(attributes.get("log"))


def _distribution(record: "SearchRecord", name: str) -> Mapping[str, Any]:
    for trial in record.trials.values():
        if name in trial.distributions:
            found = json.loads(trial.distributions[name])
            return found if isinstance(found, Mapping) else {}
    return {}


def _short(text: str, limit: int = 14) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
