"""``longhaul spaces``: the search spaces that come with Longhaul."""

import click

from longhaul.cli.options import json_option


@click.command()
@json_option
def spaces(as_json: bool) -> None:
    """List the search spaces that come with Longhaul.

    \b
    longhaul spaces
    longhaul check copying/exprnn
    """
    # imported here: torch takes seconds
    from longhaul.cli.output import emit
    from longhaul.cli.tables import table
    from longhaul.spec.search_spec import SearchSpec
    from longhaul.spec.shipped import shipped_spaces
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
    columns = ["name", "trials", "steps", "description"]
    rows = [[one["name"], one["trials"], f"{one['steps']:,}", one["description"]] for one in found]
    emit({"spaces": found}, as_json, lambda: table(columns, rows, numbers=["trials", "steps"]))
