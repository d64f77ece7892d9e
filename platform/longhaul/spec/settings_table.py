"""The settings of a cell, a task or anything else, described for people."""

from dataclasses import MISSING, dataclass
from typing import Any, Literal, get_args, get_origin

from longhaul.spec.holes import plain_text
from longhaul.spec.schema import plain_type
from longhaul_trainers.settings import FieldDescription, Settings, describe, dump


@dataclass(frozen=True)
class SettingSummary:
    """One setting.

    Attributes:
        key: the key in YAML.
        type: ``whole number``, ``number``, ``true or false``, ``text``, ``one of``, ``mapping``.
        optional: whether null is a value.
        range: the options, or the bounds in words; empty where there are none.
        default: None with ``required``, else the default as plain values.
        changed: what a component's default changes of that component's own defaults.
        required: whether a value must be given.
        searchable: whether a search space may leave a hole here.
        structural: whether trials of one pack must share it.
        help: one line.
    """

    key: str
    type: str
    optional: bool
    range: str
    default: Any
    changed: dict[str, Any]
    required: bool
    searchable: bool
    structural: bool
    help: str

    def default_text(self) -> str:
        """The default as YAML would show it, a component without its own defaults."""
        if self.required:
            return "required"
        if not isinstance(self.default, dict):
            return plain_text(self.default)
        name = str(self.default.get("name", "..."))
        if not self.changed:
            return name
        pairs = {"name": name} | self.changed
        return "{" + ", ".join(f"{key}: {plain_text(one)}" for key, one in pairs.items()) + "}"


def first_sentence(described: type) -> str:
    """The first line of a class's docstring, without its full stop."""
    lines = (described.__doc__ or "").strip().splitlines()
    return lines[0].split(". ")[0].rstrip(".") if lines else ""


def setting_summaries(settings_type: type[Settings]) -> list[SettingSummary]:
    """The settings of a class in the order of their declaration."""
    return [_summary(field) for field in describe(settings_type).values()]


def _summary(field: FieldDescription) -> SettingSummary:
    kind, span = _kind(field)
    default = field.default
    return SettingSummary(
        key=field.name,
        type=kind,
        optional=type(None) in get_args(field.type),
        range=span,
        default=None if default is MISSING else _plain(default),
        changed=_changed(default),
        required=default is MISSING,
        searchable=field.rule.searchable,
        structural=field.rule.structural,
        help=field.rule.help,
    )


def _kind(field: FieldDescription) -> tuple[str, str]:
    if field.rule.catalogue is not None:
        return field.rule.catalogue.noun, ", ".join(field.rule.catalogue.names())
    wanted = plain_type(field)
    if get_origin(wanted) is Literal:
        return "one of", ", ".join(plain_text(option) for option in get_args(wanted))
    words = {int: "whole number", float: "number", bool: "true or false", str: "text"}
    return words.get(wanted, "mapping"), field.rule.expected()


def _changed(default: Any) -> dict[str, Any]:
    if not isinstance(default, Settings):
        return {}
    own = {name: field.default for name, field in describe(type(default)).items()}
    return {
        name: _plain(getattr(default, name)) for name in own if getattr(default, name) != own[name]
    }


def _plain(value: Any) -> Any:
    return dump(value) if isinstance(value, Settings) else value
