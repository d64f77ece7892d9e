"""``longhaul set``: changes the limits of a search that runs."""

import time
from typing import TYPE_CHECKING, Any

import click

from longhaul.cli.options import json_option, name_argument, storage_option

if TYPE_CHECKING:
    from longhaul.ledger import Ledger
    from longhaul.search.requests import Request

TAKEN_S = 15.0
"""Seconds to wait for a driver to take a change up; it looks every second."""


@click.command("set")
@name_argument
@click.argument("changes", metavar="[search.KEY=VALUE]...", nargs=-1)
@storage_option
@json_option
def set_command(name: str, changes: tuple[str, ...], storage: str, as_json: bool) -> None:
    """Change the limits of search NAME while it runs, or show them.

    Its driver takes a change up within seconds, wherever it runs; a search that nobody runs has it
    from its next resume on. What may change: trials, parallel, steps, seconds, gpu_hours and
    max_failed_trials; null takes a limit away.

    \b
    longhaul set copying-quickstart search.trials=64 search.parallel=8
    longhaul set copying-quickstart
    """
    from longhaul.cli.output import emit
    from longhaul.ledger import Ledger
    from longhaul.search.requests import ask, in_force, parse_changes
    from longhaul.spec.search_settings import CHANGEABLE

    ledger = Ledger.open(storage, name)
    before = in_force(ledger)
    taken: bool | None = None
    after = before
    if changes:
        request = ask(ledger, parse_changes(changes, before))
        after = in_force(ledger)
        taken = _taken(ledger, request)
    rows = {key: (getattr(before, key), getattr(after, key)) for key in CHANGEABLE}
    told = {
        "name": name,
        "taken": taken,
        "limits": {key: now for key, (_, now) in rows.items()},
        "before": {key: was for key, (was, _) in rows.items()},
    }
    emit(told, as_json, lambda: _text(rows, taken))


def _taken(ledger: "Ledger", request: "Request") -> bool:
    """Whether the driver of the search has written down that it heeds a request."""
    from longhaul.ledger import EventKind

    deadline = time.monotonic() + TAKEN_S
    seen = -1
    while True:
        for event in ledger.events(seen):
            seen = event.sequence
            if event.kind is EventKind.CHANGED and event.data["request"] >= request.number:
                return True
        if not ledger.is_owned() or time.monotonic() > deadline:
            return False
        time.sleep(0.2)


def _text(rows: dict[str, tuple[Any, Any]], taken: bool | None) -> str:
    lines = [
        f"search.{key:<18} {_shown(now)}" + ("" if was == now else f"  (was {_shown(was)})")
        for key, (was, now) in rows.items()
    ]
    if taken is not None:
        lines.append("")
        lines.append(
            "the running search has taken it up"
            if taken
            else "nobody runs the search, or its driver does not answer: it holds from the next "
            "resume on"
        )
    return "\n".join(lines)


def _shown(value: Any) -> str:
    return "no limit" if value is None else f"{value:,}"
