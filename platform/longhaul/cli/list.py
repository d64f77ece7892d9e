"""``longhaul list``: the searches in a storage."""

from typing import TYPE_CHECKING, Any

import click

from longhaul.cli.options import json_option, storage_option

if TYPE_CHECKING:
    from rich.console import RenderableType


@click.command("list")
@storage_option
@json_option
def list_command(storage: str, as_json: bool) -> None:
    """List the searches in a storage: their states, their trials, their best.

    \b
    longhaul list
    """
    from longhaul.cli.output import emit
    from longhaul.ledger import Ledger, open_storage
    from longhaul.queries import search_overview

    root = open_storage(storage)
    found = [search_overview(Ledger.open(root, name)) for name in Ledger.names(root)]
    emit({"storage": root.uri, "searches": found}, as_json, lambda: _render(root.uri, found))


def _render(storage: str, found: list[dict[str, Any]]) -> "str | RenderableType":
    from longhaul.cli.tables import table
    from longhaul.summary import count_words, number

    if not found:
        return f"no searches in {storage}; start one: longhaul search copying-quickstart"
    rows = [
        [
            one["name"],
            one["state"],
            one["task"] or "-",
            count_words(one["counts"], one["state"]),
            number(one["best"] and one["best"]["value"]),
            "-" if one["last_change"] is None else f"{one['last_change']:%Y-%m-%d %H:%M}",
        ]
        for one in found
    ]
    columns = ["search", "state", "task", "trials", "best loss", "last change (UTC)"]
    return table(columns, rows, numbers=["best loss"])
