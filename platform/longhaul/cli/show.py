"""``longhaul show``: the trials of a search, or everything about one."""

from typing import TYPE_CHECKING, Any

import click

from longhaul.cli.options import json_option, name_argument, storage_option

if TYPE_CHECKING:
    from rich.console import RenderableType

REPORTS_SHOWN = 12


@click.command("show")
@name_argument
@click.argument("trial", metavar="[TRIAL]", type=click.IntRange(min=0), required=False)
@storage_option
@json_option
def show_command(name: str, trial: int | None, storage: str, as_json: bool) -> None:
    """Show the trials of search NAME, best first, or everything about one.

    \b
    longhaul show copying-quickstart
    longhaul show copying-quickstart 3
    """
    from longhaul.cli.output import emit
    from longhaul.ledger import Ledger
    from longhaul.queries import trial_details, trial_rows
    from longhaul.summary import objective_of

    ledger = Ledger.open(storage, name)
    if trial is None:
        record = ledger.record()
        rows, heading = trial_rows(record), objective_of(record).heading
        emit({"search": name, "trials": rows}, as_json, lambda: _table(rows, heading))
        return
    details = trial_details(ledger, trial)
    emit(details, as_json, lambda: trial_text(details))


def trial_text(trial: dict[str, Any]) -> "RenderableType":
    """One trial for people, from `longhaul.queries.trial_details`."""
    # imported here: 0.1 s
    import yaml

    from longhaul.cli.tables import heading, indented, stacked, table
    from longhaul.summary import duration, number

    reason = f" ({trial['reason']})" if trial["reason"] else ""
    objective = trial["objective"]
    reached = trial["shown"]
    if trial["over_baseline"] is not None and trial["reached"] is not None:
        reached += f", {number(trial['over_baseline'], 3)} times the trivial baseline"
    facts = [[objective["title"], reached]]
    if trial["validation_loss"] is not None and objective["name"] != "loss":
        facts.append(["validation loss", number(trial["validation_loss"])])
    facts += [[key.replace("/", " "), number(value)] for key, value in trial["test"].items()]
    facts.append(["steps", f"{trial['step']:,}"])
    if trial["best_step"] is not None:
        facts.append(["best at step", f"{trial['best_step']:,}"])
    if trial["hidden_size"] is not None:
        facts.append(["hidden size", f"{trial['hidden_size']:,}"])
    if trial["parameters"] is not None:
        facts.append(["parameters", f"{trial['parameters']:,}"])
    if trial["started"] and trial["ended"]:
        facts.append(["time", duration((trial["ended"] - trial["started"]).total_seconds())])
    parts: list[RenderableType] = [
        heading(f"search {trial['search']}, trial {trial['trial']}: {trial['state']}{reason}"),
        table(["", ""], facts),
    ]
    config = yaml.safe_dump(trial["config"], sort_keys=False, allow_unicode=True).rstrip()
    parts += ["\nconfiguration", indented(config)]
    if trial["reports"]:
        rows = [[f"{step:,}", text] for step, text in trial["reports_shown"][-REPORTS_SHOWN:]]
        columns = ["reported at step", f"{objective['heading']} so far"]
        parts += ["", table(columns, rows, ["reported at step"])]
    return stacked(*parts, f"\ntrain it again and compare:\n    {trial['reproduce']}")


def _table(rows: list[dict[str, Any]], compared: str) -> "str | RenderableType":
    from longhaul.cli.tables import table

    if not rows:
        return "no trials yet"
    shown = [
        [
            one["trial"],
            one["state"],
            one["cell"],
            one["shown"],
            f"{one['step']:,}",
            one["reason"] or _suggested(one["suggested"]),
        ]
        for one in rows
    ]
    columns = ["trial", "state", "cell", compared, "steps", "suggested, or why it ended"]
    return table(columns, shown, numbers=["trial", compared, "steps"])


def _suggested(params: dict[str, Any]) -> str:
    from longhaul.summary import number

    shown = []
    for name, value in params.items():
        text = number(value) if isinstance(value, float) else str(value)
        if name != "cell":
            shown.append(f"{name.rpartition('.')[2]}={text}")
    return " ".join(shown)
