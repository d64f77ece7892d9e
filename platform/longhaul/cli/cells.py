"""``longhaul cells``: the cells that can be searched."""

from typing import TYPE_CHECKING, Any

import click

from longhaul.cli.options import json_option

if TYPE_CHECKING:
    from rich.console import RenderableType

    from longhaul_trainers.errors import BrokenPackageError

INPUT_SIZE = 10
"""Input size of the parameter counts shown, that of the copying task."""

HIDDEN_SIZES = (32, 64, 128, 256, 512)


@click.command()
@click.argument("name", required=False)
@json_option
def cells(name: str | None, as_json: bool) -> None:
    """List the cells, or show one: equations, settings, ranges, sizes, what differs, citation.

    \b
    longhaul cells
    longhaul cells exprnn
    """
    # imported here: torch takes seconds
    from longhaul.cli.output import emit, warn
    from longhaul.errors import RequestError
    from longhaul_trainers.errors import BrokenPackageError, UnknownNameError

    if name is None:
        listed, broken = _all()
        emit({"cells": listed, "broken": broken}, as_json, lambda: _render_list(listed))
        for one in () if as_json else broken:
            warn(one["problem"])
        return
    try:
        shown = _shown(name)
    except (UnknownNameError, BrokenPackageError) as error:
        raise RequestError(error.problem) from None
    except Exception as error:
        if (found := _broken(name, error)) is None:
            raise
        raise RequestError(found.problem) from error
    emit(shown, as_json, lambda: _render(shown))


def _all() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The cells by kind; and those of other packages that cannot even be described."""
    from longhaul_trainers.catalogue import CELLS
    from longhaul_trainers.cells.base import KINDS

    listed, broken = [], []
    for name in CELLS.names():
        try:
            listed.append(_listed(name))
        except Exception as error:
            if (found := _broken(name, error)) is None:
                raise
            package = CELLS.package(name)
            broken.append({"name": name, "package": package, "problem": found.problem})
    kinds = list(KINDS)
    return sorted(listed, key=lambda one: kinds.index(one["kind"])), broken


def _broken(name: str, error: Exception) -> "BrokenPackageError | None":
    """What an error says about another package's cell; None where it is ours."""
    from longhaul_trainers.catalogue import CELLS
    from longhaul_trainers.errors import BrokenPackageError

    if isinstance(error, BrokenPackageError):
        return error
    package = CELLS.package(name)
    return BrokenPackageError("", CELLS.noun, name, package, error) if package else None


def _listed(name: str) -> dict[str, Any]:
    from longhaul_trainers.catalogue import CELLS
    from longhaul_trainers.cells.base import KINDS
    from longhaul_trainers.cells.description import describe_cell

    found = describe_cell(name)
    return {
        "name": name,
        "kind": found.kind if found.kind in KINDS else "other",
        "summary": found.summary,
        "equations": found.equations,
        "reference": found.reference,
        "citation": found.citation,
        "package": CELLS.package(name),
    }


def _shown(name: str) -> dict[str, Any]:
    from longhaul.spec.settings_table import setting_summaries
    from longhaul_trainers.catalogue import CELLS
    from longhaul_trainers.cells.description import describe_cell

    found, cell = describe_cell(name), CELLS.get(name)
    return _listed(name) | {
        "notes": found.notes,
        "settings": setting_summaries(cell.settings_type),
        "search_ranges": found.search_ranges,
        "count_formula": found.count_formula,
        "input_size": INPUT_SIZE,
        "parameters": _counts(cell),
        "differs": found.differs,
        "bibtex": found.bibtex,
    }


def _counts(cell: Any) -> dict[int, int]:
    """Trainable parameters by hidden size, other settings at their defaults.

    Sizes that the cell refuses are left out.
    """
    from longhaul_trainers.errors import SettingError
    from longhaul_trainers.settings import parse

    counts = {}
    for size in HIDDEN_SIZES:
        try:
            settings = parse(cell.settings_type, {"hidden_size": size})
            counts[size] = cell.parameter_count(INPUT_SIZE, settings)
        except SettingError:
            continue
    return counts


def _render_list(listed: list[dict[str, Any]]) -> "RenderableType":
    from longhaul.cli.tables import table

    rows, before = [], ""
    for one in listed:
        summary = one["summary"].rstrip(".")
        kind = one["kind"] if one["kind"] != before else ""
        rows.append([kind, one["name"], summary, one["citation"] or one["package"]])
        before = one["kind"]
    return table(["kind", "cell", "what it is", "published"], rows)


def _render(shown: dict[str, Any]) -> "RenderableType":
    from longhaul.cli.tables import heading, settings_table, stacked, table
    from longhaul_trainers.cells.base import KINDS

    counts = [[f"{size:,}", f"{count:,}"] for size, count in shown["parameters"].items()]
    formula, size = shown["count_formula"], shown["input_size"]
    ranges = [[key, hole] for key, hole in shown["search_ranges"].items()]
    parts: list[Any] = [
        heading(f"{shown['name']}: {shown['summary']}"),
        f"({shown['kind']}: {KINDS[shown['kind']]})",
        shown["equations"],
        shown["notes"],
        f"Differs: {shown['differs']}" if shown["differs"] else "",
        settings_table(shown["settings"]),
        table(["search", "within"], ranges) if ranges else "",
        stacked(
            table(["hidden size", "parameters"], counts, numbers=["hidden size", "parameters"]),
            f"({size} inputs, without the readout" + (f"; {formula})" if formula else ")"),
        ),
        shown["reference"],
        shown["bibtex"],
    ]
    spaced = [part for one in parts if one for part in (one, "")]
    return stacked(*spaced[:-1])
