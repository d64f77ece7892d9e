"""``longhaul list``: the searches in a storage."""

from typing import TYPE_CHECKING, Any

import click

from longhaul.cli.options import cluster_option, given, json_option, storage_option

if TYPE_CHECKING:
    from rich.console import RenderableType


@click.command("list")
@storage_option
@cluster_option
@json_option
def list_command(storage: str, cluster: str | None, as_json: bool) -> None:
    """List the searches in a storage: their states, their trials, their best.

    \b
    longhaul list
    longhaul list --cluster http://HEAD:8265
    """
    from longhaul.cli.output import emit
    from longhaul.ledger import Ledger, open_storage
    from longhaul.queries import search_overview

    if cluster is not None:
        from longhaul.cli.on_cluster import list_there

        told = list_there(cluster, given("storage"))
        emit(told, as_json, lambda: _render(told["storage"], told["searches"]))
        return
    root = open_storage(storage)
    found = [search_overview(Ledger.open(root, name)) for name in Ledger.names(root)]
    emit({"storage": root.uri, "searches": found}, as_json, lambda: _render(root.uri, found))


def _render(storage: str, found: list[dict[str, Any]]) -> "str | RenderableType":
    from longhaul.cli.tables import table
    from longhaul.summary import count_words

    if not found:
        return f"no searches in {storage}; start one: longhaul search copying-quickstart"
    rows = [
        [
            one["name"],
            one["state"],
            one["task"] or "-",
            count_words(one["counts"], one["state"]),
            _best(one),
            "-" if one["last_change"] is None else f"{one['last_change']:%Y-%m-%d %H:%M}",
        ]
        for one in found
    ]
    losses = all(one["objective"]["name"] == "loss" for one in found)
    best = "best loss" if losses else "best"
    columns = ["search", "state", "task", "trials", best, "last change (UTC)"]
    return table(columns, rows, numbers=[best])


def _best(search: dict[str, Any]) -> str:
    best, objective = search["best"], search["objective"]
    if best is None or objective["name"] == "loss":
        return best["shown"] if best else "-"
    return f"{best['shown']} ({objective['heading']})"
