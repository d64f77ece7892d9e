"""What to say about a cell in documents and listings."""

import inspect
from collections.abc import Mapping
from dataclasses import MISSING, dataclass
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from longhaul_trainers.bibliography import citation
from longhaul_trainers.catalogue import CELLS
from longhaul_trainers.cells.base import Cell
from longhaul_trainers.errors import article
from longhaul_trainers.settings import FieldDescription, Settings, describe, dump


@dataclass(frozen=True)
class CellDescription:
    """One cell in words.

    Attributes:
        name: as in configurations.
        kind: which recurrence it is, a key of `longhaul_trainers.cells.base.KINDS`.
        summary: one sentence.
        notes: what the cell's documentation says further, empty where there is nothing.
        equations: plain text, one equation a line.
        differs: what differs from the paper or its program, empty where nothing does.
        count_formula: parameters of the cell alone under default settings, in n, m and settings.
        search_ranges: settings, and holes as a space writes them.
        reference: where it was published.
        citation: the same in short, for example ``Helfrich et al. 2018``.
        bibtex: the entry to cite.
        settings: its settings by name.
    """

    name: str
    kind: str
    summary: str
    notes: str
    equations: str
    differs: str
    count_formula: str
    search_ranges: Mapping[str, str]
    reference: str
    citation: str
    bibtex: str
    settings: Mapping[str, FieldDescription]

    def markdown(self) -> str:
        """A section of a document with everything."""
        count = (
            f"Parameters: `{self.count_formula}` (n hidden units, m inputs, other settings at "
            "their defaults, without the readout)."
        )
        parts = [
            f"## {self.name}",
            self.summary,
            f"```text\n{self.equations}\n```",
            self.notes,
            f"Differs: {self.differs}" if self.differs else "",
            count if self.count_formula else "",
            settings_table(self.settings),
            _ranges_table(self.search_ranges),
            f"Reference: {self.reference}." if self.reference else "",
            f"```bibtex\n{self.bibtex}\n```" if self.bibtex else "",
        ]
        return "\n\n".join(part for part in parts if part)


def describe_cell(name: str) -> CellDescription:
    """Describes the cell that configurations call ``name``.

    Raises:
        UnknownNameError: no such cell.
        BrokenPackageError: the package that contributes it fails on import.
    """
    cell: type[Cell] = CELLS.get(name)
    summary, notes = documentation(cell)
    return CellDescription(
        name=name,
        kind=cell.kind,
        summary=summary,
        notes=notes,
        equations=cell.equations,
        differs=cell.differs,
        count_formula=cell.count_formula,
        search_ranges=cell.search_ranges,
        reference=cell.reference,
        citation=citation(cell.bibtex),
        bibtex=cell.bibtex,
        settings=describe(cell.settings_type),
    )


def documentation(described: type) -> tuple[str, str]:
    """First paragraph of a class's docstring, in one line, and the rest; code in single quotes."""
    text = inspect.cleandoc(described.__doc__ or "").replace("``", "`")
    summary, _, notes = text.partition("\n\n")
    return summary.replace("\n", " "), notes.strip()


def settings_table(settings: Mapping[str, FieldDescription]) -> str:
    """A table in markdown, one setting a row."""
    head = ["| setting | default | allowed | meaning |", "|---|---|---|---|"]
    return "\n".join([*head, *(_row(one) for one in settings.values())])


def _ranges_table(ranges: Mapping[str, str]) -> str:
    if not ranges:
        return ""
    rows = [f"| `{name}` | `{hole}` |" for name, hole in ranges.items()]
    return "\n".join(["| search | within |", "|---|---|", *rows])


def _row(field: FieldDescription) -> str:
    allowed = " ".join(part for part in (_type_words(field), field.rule.expected()) if part)
    return f"| `{field.name}` | {_value(field.default)} | {allowed} | {field.rule.help} |"


def _value(default: Any) -> str:
    if default is MISSING:
        return "none, must be given"
    if isinstance(default, Settings):
        default = dump(default)
        if list(default) == ["name"]:
            default = default["name"]
    if isinstance(default, dict):
        return f"`{_flow(default)}`"
    return f"`{_plain(default)}`"


def _flow(mapping: Mapping[str, Any]) -> str:
    """A mapping as YAML writes it in one line."""
    pairs = [
        f"{key}: {_flow(one) if isinstance(one, Mapping) else _plain(one)}"
        for key, one in mapping.items()
    ]
    return "{" + ", ".join(pairs) + "}"


def _plain(value: object) -> str:
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _type_words(field: FieldDescription) -> str:
    if field.rule.catalogue is not None:
        return f"{article(field.rule.catalogue.noun)}: its name, or a mapping with it"
    return _words(field.type)


def _words(annotation: Any) -> str:
    arms = get_args(annotation)
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{arm}`" for arm in arms)
    if NoneType in arms:
        return ", ".join(["`null`", *(_words(arm) for arm in arms if arm is not NoneType)])
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return "a mapping"
    return {int: "whole number", float: "number", bool: "true or false"}.get(annotation, "text")
