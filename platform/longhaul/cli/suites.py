"""What commands that take a space do with a suite: check it, run its searches, list it."""

from typing import TYPE_CHECKING, Any

import click

from longhaul.cli.output import emit, say
from longhaul.cli.searching import (
    INTERRUPTED_STATUS,
    columns,
    existing,
    open_or_create,
    place_options,
    run_shown,
)

if TYPE_CHECKING:
    from rich.console import RenderableType

    from longhaul.search.driver import Place
    from longhaul.search.outcome import Outcome
    from longhaul.spec.suite import Suite


def run_suite(
    suite: "Suite",
    place: "Place",
    parallel: int | None,
    as_json: bool,
    log_format: str = "text",
) -> None:
    """Runs the searches of a suite one after the other, and prints how they ended.

    Those that are complete are left as they are, so that a second call goes on where the first one
    stopped. Exits with 1 where one failed, after the others, and with 130 where it was interrupted.
    """
    from longhaul.comparison.record import write_suite
    from longhaul.ledger import open_storage
    from longhaul.search.data import prepare_data

    specs = [one.spec for one in suite.searches]
    for spec in specs:
        existing(spec, place.storage)  # a name that is taken is told now, not hours later
        if place.address is None:
            prepare_data(spec)
    write_suite(open_storage(place.storage), suite)
    results: list[Outcome] = []
    for number, spec in enumerate(specs, start=1):
        if log_format == "text":
            say(f"search {number} of {len(specs)}: {spec.name}")
        ledger = open_or_create(spec, place.storage, place.address)
        limits = {} if parallel is None else {"parallel": parallel}
        results.append(run_shown(ledger, place, limits, spec, log_format))
        if results[-1].state == "interrupted":
            break
    state = _state(results)
    following = _next(suite, place, state)
    told = {"suite": suite.name, "state": state, "searches": [one.as_dict() for one in results]}
    emit(told | {"next": following}, as_json, lambda: _ran(suite, results, state, following))
    if state != "completed":
        raise click.exceptions.Exit(INTERRUPTED_STATUS if state == "interrupted" else 1)


def _state(results: "list[Outcome]") -> str:
    states = {one.state for one in results}
    return next((one for one in ("interrupted", "failed") if one in states), "completed")


def _next(suite: "Suite", place: "Place", state: str) -> dict[str, str]:
    storage, tracking = place_options(place)
    following = {"compare": f"longhaul compare {suite.name}{storage}"}
    if state != "completed":
        following["resume"] = f"longhaul search {suite.file}{storage}{tracking} (as before)"
    return following


def _ran(
    suite: "Suite", results: "list[Outcome]", state: str, following: dict[str, str]
) -> "RenderableType":
    from longhaul.cli.tables import heading, stacked, table

    rows = [
        [
            label,
            one.name,
            one.state,
            sum(one.counts.values()),
            one.shown,
            "-" if one.over_baseline is None else f"{one.over_baseline:.3f}",
        ]
        for label, one in zip((each.label for each in suite.searches), results, strict=False)
    ]
    compared = list(dict.fromkeys(one.heading for one in results))
    best = compared[0] if len(compared) == 1 else "best"
    headings = ["", "search", "state", "trials", best, "× baseline"]
    return stacked(
        heading(f"suite {suite.name}: {state}"),
        table(headings, rows, numbers=headings[3:]),
        f"\nnext:\n{columns(following)}",
    )


def checked(suite: "Suite") -> dict[str, Any]:
    """What running a suite amounts to; nothing is trained."""
    from longhaul.spec.summary import summarise
    from longhaul_trainers.settings import dump

    searches: list[dict[str, Any]] = []
    for one in suite.searches:
        told = summarise(one.spec)
        searches.append(
            {
                "label": one.label,
                "name": told.name,
                "space": told.source,
                "task": told.task,
                "cells": told.cells,
                "holes": [hole.name for hole in told.holes],
                "trials": told.trials,
                "steps": told.rungs[-1],
                "rungs": told.rungs,
                "batch_size": _batch_size(told.resolved),
                "expected_steps": told.expected_steps,
                "most_steps": told.most_steps,
                "objective": told.objective,
                "published": one.published,
            }
        )
    return {
        "name": suite.name,
        "description": suite.description,
        "source": suite.source,
        "file": suite.file,
        "budget": dump(suite.budget),
        "seeds": suite.seeds,
        "selection": "validation",
        "searches": searches,
        "expected_steps": sum(one["expected_steps"] for one in searches),
        "most_steps": sum(one["most_steps"] for one in searches),
        "seed_steps": suite.seeds * sum(one["steps"] for one in searches),
    }


def check_text(told: dict[str, Any]) -> "RenderableType":
    """The same for people."""
    from longhaul.cli.tables import heading, stacked, table
    from longhaul.summary import selection

    rows = [
        [
            one["label"],
            one["name"],
            f"{one['task'].name} ({one['task'].protocol})",
            _span(one["cells"]),
            len(one["holes"]),
            one["trials"],
            f"{one['steps']:,}",
            "any" if one["batch_size"] is None else one["batch_size"],
            f"{one['expected_steps']:,}",
        ]
        for one in told["searches"]
    ]
    headings = ["", "search", "task", "parameters", "holes", "trials", "steps", "batch", "expected"]
    seconds = told["budget"]["seconds"]
    selected = selection(one["objective"]["title"] for one in told["searches"])
    limit = "" if seconds is None else f", in {seconds:g} seconds each"
    return stacked(
        heading(f"{told['name']}: {told['description']}"),
        f"file       {told['file']}\n"
        f"budget     equal for all searches: {told['budget']['trials'] or 'any number of'} trials"
        f"{limit}; early stopping: {told['budget']['scheduler']['name']}\n"
        f"           about {told['expected_steps']:,} training steps to be expected, at most "
        f"{told['most_steps']:,}\n"
        f"selection  {selected} among the trials that ran all their steps\n"
        f"scores     on the test set over {told['seeds']} fresh seeds of each best configuration: "
        f"{told['seed_steps']:,} more steps\n",
        table(headings, rows, numbers=headings[3:]),
        "\nbatch is sequences a training step; expected are training steps of the whole search",
    )


def _span(cells: list[Any]) -> str:
    low, high = min(one.smallest for one in cells), max(one.largest for one in cells)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _batch_size(resolved: dict[str, Any]) -> int | None:
    """Sequences in a batch; None where the search decides."""
    found = resolved["training"].get("batch_size")
    return found if isinstance(found, int) else None
