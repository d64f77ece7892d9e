"""What to say about a cell in documents and listings."""

import inspect
from collections.abc import Mapping
from dataclasses import MISSING, dataclass
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from longhaul_trainers.catalogue import CELLS
from longhaul_trainers.cells.base import Cell
from longhaul_trainers.settings import FieldDescription, Settings, describe, dump


@dataclass(frozen=True)
class CellDescription:
    """One cell in words.

    Attributes:
        name: as in configurations.
        summary: one sentence.
        notes: what the cell's documentation says further, empty where there is nothing.
        equations: plain text, one equation a line.
        reference: where it was published.
        settings: its settings by name.
    """

    name: str
    summary: str
    notes: str
    equations: str
    reference: str
    settings: Mapping[str, FieldDescription]

    def markdown(self) -> str:
        """A section of a document: summary, equations, notes, reference and table of settings."""
        parts = [
            f"## {self.name}",
            self.summary,
            f"```\n{self.equations}\n```",
            self.notes,
            f"Reference: {self.reference}." if self.reference else "",
            "\n".join(
                [
                    "| setting | default | allowed | meaning |",
                    "|---|---|---|---|",
                    *(_row(one) for one in self.settings.values()),
                ]
            ),
        ]
        return "\n\n".join(part for part in parts if part)


def describe_cell(name: str) -> CellDescription:
    """Describes the cell that configurations call ``name``.

    Raises:
        UnknownNameError: no such cell.
    """
    cell: type[Cell] = CELLS.get(name)
    documentation = inspect.cleandoc(cell.__doc__ or "")
    summary, _, notes = documentation.partition("\n\n")
    return CellDescription(
        name=name,
        summary=summary.replace("\n", " "),
        notes=notes.strip(),
        equations=cell.equations,
        reference=cell.reference,
        settings=describe(cell.settings_type),
    )


def _row(field: FieldDescription) -> str:
    allowed = " ".join(part for part in (_type_words(field.type), field.rule.expected()) if part)
    return f"| `{field.name}` | {_value(field.default)} | {allowed} | {field.rule.help} |"


def _value(default: Any) -> str:
    if default is MISSING:
        return "none, must be given"
    if isinstance(default, Settings):
        default = dump(default)
        if list(default) == ["name"]:
            default = default["name"]
    if default is None or isinstance(default, bool):
        default = str(default).lower().replace("none", "null")
    return f"`{default}`"


def _type_words(annotation: Any) -> str:
    arms = get_args(annotation)
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{arm}`" for arm in arms)
    if NoneType in arms:
        return ", ".join(["`null`", *(_type_words(arm) for arm in arms if arm is not NoneType)])
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return "a name, or a mapping with one"
    return {int: "whole number", float: "number", bool: "true or false"}.get(annotation, "text")
