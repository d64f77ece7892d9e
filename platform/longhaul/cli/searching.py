"""What ``search`` and ``resume`` share: running, showing, and what to type next."""

import sys
from typing import TYPE_CHECKING, Any

import click

from longhaul.cli.output import emit, progress_console, say

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import RenderableType

    from longhaul.ledger import Ledger
    from longhaul.search.driver import Place
    from longhaul.search.outcome import Outcome
    from longhaul.search.run import SearchRun
    from longhaul.spec.search_spec import SearchSpec

INTERRUPTED_STATUS = 130


def run_and_report(
    ledger: "Ledger",
    place: "Place",
    overrides: dict[str, Any],
    as_json: bool,
    wanted: "SearchSpec | None" = None,
) -> None:
    """Runs a search and prints how it ended.

    Exits with 1 where the search could not go on, or had no trial that ran to its end, and with
    130 where it was interrupted.
    """
    from longhaul.search.driver import run_search
    from longhaul.search.view import PlainView, TerminalView

    # Written to a pipe or a file, a redrawn line would be noise.
    view: PlainView | TerminalView = (
        TerminalView(progress_console()) if sys.stderr.isatty() else PlainView(say)
    )
    try:
        run = run_search(ledger, place, view, overrides, wanted)
    finally:
        view.close()
    result = _outcome(run)
    next_commands = _next(result, place)
    emit(result.as_dict() | {"next": next_commands}, as_json, lambda: _text(result, next_commands))
    if result.state != "complete":
        raise click.exceptions.Exit(INTERRUPTED_STATUS if result.state == "interrupted" else 1)


def _outcome(run: "SearchRun") -> "Outcome":
    from longhaul.search.outcome import outcome
    from longhaul.search.run import INTERRUPTED
    from longhaul_trainers.catalogue import TASKS
    from longhaul_trainers.settings import parse_component

    task = parse_component(TASKS, run.spec.tree["task"])
    baseline = TASKS.get(task.name)(task).baseline
    state, reason = "complete", run.stop_reason
    if reason is not None:
        state = "interrupted" if reason == INTERRUPTED else "failed"
    elif run.record.best() is None:
        state, reason = "failed", "no trial ran all its steps with a finite loss"
    return outcome(run.record, baseline, state, reason)


def _next(result: "Outcome", place: "Place") -> dict[str, str]:
    """The commands that come next, with the options that are not the defaults."""
    from longhaul.cli.options import DEFAULT_STORAGE, default_tracking_uri
    from longhaul.redaction import redact

    storage = "" if place.storage == DEFAULT_STORAGE else f" --storage {place.storage}"
    tracking = ""
    if "://" not in place.storage and place.tracking_uri != default_tracking_uri(place.storage):
        # An address may hold a password, and what is printed here ends in logs.
        tracking = f" --tracking-uri {redact(place.tracking_uri)}"
    commands = {"watch": f"longhaul ui{storage}{tracking}"}
    if result.best is not None:
        commands["reproduce"] = f"longhaul reproduce {result.name}{storage}"
    if result.state == "complete":
        more = 2 * sum(result.counts.values())
        commands["extend"] = f"longhaul resume {result.name} --trials {more}{storage}{tracking}"
    else:
        commands["resume"] = f"longhaul resume {result.name}{storage}{tracking}"
    return commands


def _text(result: "Outcome", next_commands: dict[str, str]) -> "RenderableType":
    # imported here: 0.1 s
    from rich.console import Group
    from rich.text import Text

    from longhaul.search.outcome import cell_table, summary_lines

    title = f"search {result.name}: {result.state}"
    lines = [title + (f" ({result.reason})" if result.reason else ""), *summary_lines(result)]
    parts: list[RenderableType] = [Text("\n".join(lines)), Text(""), cell_table(result)]
    if result.params is not None:
        shown = {name: _short(value) for name, value in result.params.items()}
        parts.append(Text(f"\nbest configuration (trial {result.best}):\n{_columns(shown)}"))
    return Group(*parts, Text(f"\nnext:\n{_columns(next_commands)}"))


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _columns(rows: "Mapping[str, str]") -> str:
    width = max(len(name) for name in rows)
    return "\n".join(f"  {name:<{width}}  {value}" for name, value in rows.items())
