"""``longhaul status``: where a search stands."""

from typing import TYPE_CHECKING, Any

import click

from longhaul.cli.options import (
    cluster_option,
    given,
    json_option,
    name_argument,
    storage_option,
)

if TYPE_CHECKING:
    from rich.console import RenderableType


@click.command("status")
@name_argument
@storage_option
@cluster_option
@json_option
def status_command(name: str, storage: str, cluster: str | None, as_json: bool) -> None:
    """Show where search NAME stands: trials, best so far, who runs it, how far MLflow is.

    \b
    longhaul status copying-quickstart
    longhaul status copying-quickstart --cluster http://HEAD:8265
    """
    from longhaul.cli.output import emit
    from longhaul.ledger import Ledger
    from longhaul.queries import search_status

    if cluster is not None:
        from longhaul.cli.on_cluster import status_there, unbegun

        told = status_there(cluster, name, given("storage"))
        emit(told, as_json, lambda: _render(told) if "counts" in told else unbegun(told))
        return
    status = search_status(Ledger.open(storage, name))
    emit(status, as_json, lambda: _render(status))


def _render(status: dict[str, Any]) -> "RenderableType":
    from longhaul.cli.tables import heading, stacked, table
    from longhaul.summary import count_words, duration

    reason = f" ({status['reason']})" if status["reason"] else ""
    objective = status["objective"]
    loss = objective["name"] == "loss"
    facts = [
        ["trials", count_words(status["counts"], status["state"])],
        *([] if loss else [["objective", objective["title"]]]),
        ["best", _best(status["best"])],
        ["steps", f"{status['steps_trained']:,} trained, {status['steps_saved']:,} saved"],
    ]
    if status["seconds"] is not None:
        facts.append(
            ["time", f"{duration(status['seconds'])}, since {status['started']:%F %T} UTC"]
        )
    if status["owner"]:
        verb = "run by" if status["state"] == "running" else "last run by"
        facts.append([verb, status["owner"]])
    if "job" in status:
        facts.append(["job", f"{status['job']['id']}, {status['job']['status'].lower()}"])
    facts.append(["MLflow", _mlflow(status["name"], status["mlflow"])])
    parts: list[RenderableType] = [
        heading(f"search {status['name']}: {status['state']}{reason}"),
        table(["", ""], facts),
    ]
    if status["running"]:
        parts += ["", _running(status["running"], "loss" if loss else objective["heading"])]
    return stacked(*parts)


def _running(trials: list[dict[str, Any]], compared: str) -> "RenderableType":
    from longhaul.cli.tables import table

    columns = ["running trial", "step", f"{compared} so far"]
    rows = [
        [one["trial"], f"{one['step']:,} of {one['steps'] or 0:,}", one["shown"]] for one in trials
    ]
    if any(one["host"] is not None for one in trials):
        columns.append("pack host")
        for row, one in zip(rows, trials, strict=True):
            row.append("-" if one["host"] is None else one["host"])
    return table(columns, rows, numbers=columns)


def _best(best: dict[str, Any] | None) -> str:
    from longhaul.summary import number

    if best is None:
        return "no trial has run all its steps yet"
    ratio = ""
    if best["over_baseline"] is not None:
        ratio = f", {number(best['over_baseline'], 3)} times the baseline"
    return f"{best['shown']} (trial {best['trial']}, {best['cell']}{ratio})"


def _mlflow(name: str, lag: dict[str, Any] | None) -> str:
    if lag is None:
        return f"nothing delivered; longhaul sync {name}"
    if lag["delivered"]:
        return "up to date"
    trouble = f": {lag['error']}" if lag["error"] else ""
    refused = f", {len(lag['undeliverable'])} trials refused" if lag["undeliverable"] else ""
    return f"{lag['events']} events behind{refused}{trouble}; longhaul sync {name} delivers them"
