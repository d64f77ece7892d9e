"""``longhaul spaces``: the search spaces and suites that come with Longhaul."""

from typing import Any

import click

from longhaul.cli.options import json_option


@click.command()
@json_option
def spaces(as_json: bool) -> None:
    """List the search spaces that come with Longhaul, and the suites that compare several.

    \b
    longhaul spaces
    longhaul check copying/exprnn
    """
    # imported here: torch takes seconds
    from longhaul.cli.output import emit
    from longhaul.cli.tables import stacked, table
    from longhaul.spec.search_spec import SearchSpec
    from longhaul.spec.shipped import SUITES, shipped_spaces, shipped_suites
    from longhaul.spec.suite import Suite
    from longhaul.spec.summary import summarise

    found = []
    for name, path in shipped_spaces().items():
        summary = summarise(SearchSpec.load(name))
        found.append(
            {
                "name": name,
                "description": summary.description,
                "task": summary.task.name,
                "protocol": summary.task.protocol,
                "cells": [cell.cell for cell in summary.cells],
                "holes": len(summary.holes),
                "trials": summary.trials,
                "steps": summary.rungs[-1],
                "file": path,
            }
        )
    suites: list[dict[str, Any]] = []
    for name, path in shipped_suites().items():
        suite = Suite.load(name)
        suites.append(
            {
                "name": f"{SUITES}/{name}",
                "description": suite.description,
                "source": suite.source,
                "searches": [one.spec.name for one in suite.searches],
                "trials": suite.budget.trials,
                "seeds": suite.seeds,
                "file": path,
            }
        )
    columns = ["name", "trials", "steps", "description"]
    rows = [[one["name"], one["trials"], f"{one['steps']:,}", one["description"]] for one in found]
    of_suites = ["suite", "searches", "trials each", "description"]
    compared = [
        [one["name"], len(one["searches"]), one["trials"] or "any", one["description"]]
        for one in suites
    ]
    emit(
        {"spaces": found, "suites": suites},
        as_json,
        lambda: stacked(
            table(columns, rows, numbers=["trials", "steps"]),
            "",
            table(of_suites, compared, numbers=["searches", "trials each"]),
        ),
    )
