"""Changing leaves of a space: ``--set PATH=VALUE`` on the command line, or a suite's changes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from longhaul.errors import RequestError
from longhaul.spec.document import HOLE_KINDS, Document, KeyPath, branch_labels, request_error
from longhaul.spec.enqueued import without_hole
from longhaul.spec.loading import read_text
from longhaul.spec.search_settings import SearchSettings
from longhaul_trainers.errors import nearest
from longhaul_trainers.settings import Settings, describe


def _of_command_line(path: str) -> str:
    return f"--set {path}" if path else "--set"


def override(
    document: Document,
    changes: Sequence[str],
    origin: Callable[[str], str] = _of_command_line,
) -> Document:
    """The document with some leaves changed.

    A path goes through a branch by its label, ``cell.exprnn.hidden_size``. A key that is new is
    set like any other; where nothing knows it, the validation that follows refuses it. Where a
    hole is filled, the points that a search tries first lose what they say of it.

    Args:
        document: as read.
        changes: ``PATH=VALUE`` each, VALUE in YAML, a hole where one may be; later ones win.
        origin: what to call the place that asks for a change, from the change's path; without a
            path, from nothing.

    Raises:
        RequestError: no such place, or a VALUE that is no YAML.
    """
    for change in changes:
        document = _changed(document, change, origin)
    return document


def _changed(document: Document, change: str, named: Callable[[str], str]) -> Document:
    path, equals, text = change.partition("=")
    path = path.strip()
    if not equals or not path or not all(path.split(".")):
        problem = "expected PATH=VALUE, for example training.steps=100"
        raise RequestError(f"{named('')} {change!r}: {problem}")
    origin = named(path)
    if not text.strip():
        raise request_error(origin, path, "found no value; expected PATH=VALUE, null for none")
    keys = tuple(path.split("."))
    value = read_text(text, origin, lambda _: origin, keys).value
    place, changed = _with(document.value, keys, value, (), _Asked(origin, keys))
    filled = _is_leaf_hole(document.at(place)) and not _is_leaf_hole(value)
    kept = {at: line for at, line in document.origins.items() if at[: len(place)] != place}
    made = Document(document.source, changed, kept | {place: origin})
    return without_hole(made, path) if filled else made


def _is_leaf_hole(node: Any) -> bool:
    """Whether a hole stands here, other than a choice among branches, which have keys."""
    return (
        isinstance(node, Mapping)
        and any(kind in node for kind in HOLE_KINDS)
        and (not isinstance(node.get("choice"), list) or branch_labels(node["choice"]) is None)
    )


@dataclass(frozen=True)
class _Asked:
    """One change as it was asked for."""

    origin: str
    path: tuple[str, ...]

    def walked(self, left: Sequence[str]) -> str:
        """The part of the path before the keys that are left."""
        return ".".join(self.path[: len(self.path) - len(left)])

    def error(self, problem: str) -> RequestError:
        return request_error(self.origin, ".".join(self.path), problem)


def _with(
    node: Any, keys: Sequence[str], value: Any, at: KeyPath, asked: _Asked
) -> tuple[KeyPath, Any]:
    """The node with one leaf changed, and the topmost place that is new or different."""
    if not keys:
        return at, value
    key, rest = keys[0], keys[1:]
    if isinstance(node, Mapping) and isinstance(node.get("choice"), list):
        return _with_branch(node, keys, value, at, asked)
    made = isinstance(node, str | None)
    if isinstance(node, str):
        # `sampler: tpe` is short for `sampler: {name: tpe}`
        node = {"name": node}
    elif node is None:
        node = _implied(at)
    if not isinstance(node, Mapping) or any(kind in node for kind in HOLE_KINDS):
        where = asked.walked(keys) or "the file"
        raise asked.error(f"{where} is {node!r}, which has no keys; change it whole")
    place, inner = _with(node.get(key), rest, value, (*at, key), asked)
    if made:
        place = at
    elif key not in node:
        place = (*at, key)
    return place, {**node, key: inner}


def _with_branch(
    node: Mapping[str, Any], keys: Sequence[str], value: Any, at: KeyPath, asked: _Asked
) -> tuple[KeyPath, Any]:
    options = list(node["choice"])
    labels = branch_labels(options)
    where = asked.walked(keys)
    if labels is None:
        problem = f"{where} is a choice among values, which have no keys; change it whole"
        raise asked.error(problem)
    if keys[0] not in labels:
        problem = f"{where} is a choice among branches and has none called {keys[0]!r}"
        example = f"{where}.{labels[0]}.KEY"
        raise asked.error(f"{problem}; {nearest(keys[0], labels)}; write {example}")
    index = labels.index(keys[0])
    down = (*at, "choice", index)
    place, options[index] = _with(options[index], keys[1:], value, down, asked)
    return place, {"choice": options}


def _implied(at: KeyPath) -> dict[str, Any]:
    """What a mapping begins with that the file leaves out: the name of a default, or nothing."""
    # imported here: the training package brings torch
    from longhaul_trainers.training.settings import TrainingSettings

    sections: dict[Any, type[Settings]] = {"search": SearchSettings, "training": TrainingSettings}
    if len(at) != 2 or at[0] not in sections:
        return {}
    field = describe(sections[at[0]]).get(str(at[1]))
    default = None if field is None else field.default
    return {"name": default.name} if isinstance(default, Settings) and default.name else {}
