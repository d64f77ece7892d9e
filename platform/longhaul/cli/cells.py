"""``longhaul cells``: the cells that can be searched."""

from typing import TYPE_CHECKING, Any

import click

from longhaul.cli.options import json_option

if TYPE_CHECKING:
    from rich.console import RenderableType

INPUT_SIZE = 10
"""Input size of the parameter counts shown, that of the copying task."""

HIDDEN_SIZES = (32, 64, 128, 256, 512)


@click.command()
@click.argument("name", required=False)
@json_option
def cells(name: str | None, as_json: bool) -> None:
    """List the cells, or show one: equations, settings, sizes, reference.

    \b
    longhaul cells
    longhaul cells exprnn
    """
    # imported here: torch takes seconds
    from longhaul.cli.output import emit
    from longhaul.errors import RequestError
    from longhaul_trainers.catalogue import CELLS
    from longhaul_trainers.errors import UnknownNameError

    if name is None:
        found = [_listed(one, CELLS.get(one)) for one in CELLS.names()]
        emit({"cells": found}, as_json, lambda: _render_list(found))
        return
    try:
        cell = CELLS.get(name)
    except UnknownNameError as error:
        raise RequestError(error.problem) from None
    shown = _shown(name, cell)
    emit(shown, as_json, lambda: _render(shown))


def _listed(name: str, cell: Any) -> dict[str, Any]:
    from longhaul.spec.settings_table import first_sentence

    return {
        "name": name,
        "summary": first_sentence(cell),
        "equations": cell.equations,
        "reference": cell.reference,
    }


def _shown(name: str, cell: Any) -> dict[str, Any]:
    from longhaul.spec.settings_table import setting_summaries

    return _listed(name, cell) | {
        "settings": setting_summaries(cell.settings_type),
        "input_size": INPUT_SIZE,
        "parameters": _counts(cell),
    }


def _counts(cell: Any) -> dict[int, int]:
    """Trainable parameters by hidden size, other settings at their defaults."""
    from longhaul_trainers.errors import SettingError
    from longhaul_trainers.settings import parse

    try:
        return {
            size: cell.parameter_count(INPUT_SIZE, parse(cell.settings_type, {"hidden_size": size}))
            for size in HIDDEN_SIZES
        }
    except SettingError:
        return {}  # a setting without default: there is nothing to count


def _render_list(found: list[dict[str, Any]]) -> "RenderableType":
    from longhaul.cli.tables import table

    rows = [[one["name"], one["summary"], one["reference"]] for one in found]
    return table(["cell", "what it is", "reference"], rows)


def _render(shown: dict[str, Any]) -> "RenderableType":
    from longhaul.cli.tables import heading, settings_table, stacked, table

    counts = [[f"{size:,}", f"{count:,}"] for size, count in shown["parameters"].items()]
    return stacked(
        heading(f"{shown['name']}: {shown['summary']}"),
        "",
        shown["equations"],
        "",
        settings_table(shown["settings"]),
        "",
        table(["hidden size", "parameters"], counts, numbers=["hidden size", "parameters"]),
        f"({shown['input_size']} inputs, without the readout)",
        "",
        shown["reference"],
    )
