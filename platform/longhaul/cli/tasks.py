"""``longhaul tasks``: the benchmarks that cells are searched on."""

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from longhaul.cli.options import json_option

if TYPE_CHECKING:
    from rich.console import RenderableType


@click.command()
@click.argument("name", required=False)
@json_option
def tasks(name: str | None, as_json: bool) -> None:
    """List the tasks, or show one: settings, an example, and each paper's protocol.

    \b
    longhaul tasks
    longhaul tasks copying
    """
    # imported here: torch takes seconds
    from longhaul.cli.output import emit
    from longhaul.errors import RequestError
    from longhaul_trainers.catalogue import TASKS
    from longhaul_trainers.errors import UnknownNameError

    if name is None:
        found = [_listed(one, TASKS.get(one)) for one in TASKS.names()]
        emit({"tasks": found}, as_json, lambda: _render_list(found))
        return
    try:
        task = TASKS.get(name)
    except UnknownNameError as error:
        raise RequestError(error.problem) from None
    shown = _shown(name, task)
    emit(shown, as_json, lambda: _render(shown))


def _listed(name: str, task: Any) -> dict[str, Any]:
    from longhaul.spec.settings_table import first_sentence

    return {"name": name, "summary": first_sentence(task), "protocols": list(task.protocols)}


def _shown(name: str, task: Any) -> dict[str, Any]:
    from longhaul.spec.settings_table import setting_summaries
    from longhaul_trainers.settings import dump, parse

    default = task(parse(task.settings_type, {}))
    return _listed(name, task) | {
        "settings": setting_summaries(task.settings_type),
        "default": dump(default.settings),
        "example": _unless_missing(default.example),
        "protocols": [_protocol(task, protocol) for protocol in task.protocols.values()],
    }


def _protocol(task: Any, protocol: Any) -> dict[str, Any]:
    from longhaul_trainers.settings import parse

    made = task(parse(task.settings_type, {"protocol": protocol.name}))
    return {
        "name": protocol.name,
        "source": protocol.source,
        "summary": protocol.summary,
        "defects": protocol.defects,
        "published": [asdict(score) for score in protocol.published],
        "selects_on_test": protocol.selects_on_test,
        "batch_size": protocol.batch_size,
        "steps": protocol.steps,
        "length": _unless_missing(lambda: made.length),
        "input_size": _unless_missing(lambda: made.input_size),
        "output_size": _unless_missing(lambda: made.output_size),
        "baseline": _unless_missing(lambda: made.baseline),
        "baseline_metrics": _unless_missing(lambda: made.baseline_metrics),
    }


def _unless_missing(read: Callable[[], Any]) -> Any:
    """What only the task's data may tell; None where that is not there."""
    from longhaul_trainers.errors import MissingDataError

    try:
        return read()
    except MissingDataError:
        return None


def _render_list(found: list[dict[str, Any]]) -> "RenderableType":
    from longhaul.cli.tables import table

    rows = [[one["name"], one["summary"], ", ".join(one["protocols"])] for one in found]
    return table(["task", "what it asks", "protocols"], rows)


def _render(shown: dict[str, Any]) -> "RenderableType":
    from longhaul.cli.tables import heading, settings_table, stacked, table

    columns = ["protocol", "batch", "steps", "length", "baseline"]
    rows = [
        [
            one["name"],
            one["batch_size"],
            f"{one['steps']:,}",
            "-" if one["length"] is None else one["length"],
            "-" if one["baseline"] is None else f"{one['baseline']:.4g}",
        ]
        for one in shown["protocols"]
    ]
    return stacked(
        heading(f"{shown['name']}: {shown['summary']}"),
        "",
        shown["example"] or "(its data is not here, so there is no example: longhaul data)",
        "",
        settings_table(shown["settings"]),
        "",
        table(columns, rows, numbers=columns[1:]),
        "(length in steps and baseline loss with the other settings at their defaults)",
        *(part for one in shown["protocols"] for part in _prose(one)),
    )


def _prose(protocol: dict[str, Any]) -> "list[RenderableType]":
    from longhaul.cli.tables import heading, indented

    defects = f"Differs: {protocol['defects']}" if protocol["defects"] else ""
    parts = [protocol["summary"], defects, _scores(protocol), protocol["source"]]
    return ["", heading(protocol["name"]), *(indented(part) for part in parts if part)]


def _scores(protocol: dict[str, Any]) -> str:
    """What was published under a protocol, empty if nothing is known."""
    if not protocol["published"]:
        return ""
    lines = []
    for score in protocol["published"]:
        beside = "; ".join(part for part in (score["setting"], score["note"]) if part)
        said = f"  {score['model']}: {score['metric']} {score['value']:g}"
        lines.append(f"{said} ({beside})" if beside else said)
    how = " (the best on the test set over the epochs)" if protocol["selects_on_test"] else ""
    return "\n".join([f"Published{how}:", *lines])
