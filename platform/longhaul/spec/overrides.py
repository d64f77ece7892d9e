"""Changing leaves of a space from the command line: ``--set PATH=VALUE``."""

from collections.abc import Mapping, Sequence
from typing import Any

from longhaul.errors import RequestError
from longhaul.spec.document import HOLE_KINDS, Document, KeyPath, branch_labels, request_error
from longhaul.spec.loading import read_text
from longhaul.spec.search_settings import SearchSettings
from longhaul_trainers.errors import nearest
from longhaul_trainers.settings import Settings, describe


def override(document: Document, changes: Sequence[str]) -> Document:
    """The document with some leaves changed.

    A path goes through a branch by its label, ``cell.exprnn.hidden_size``. A key that is new is
    set like any other; where nothing knows it, the validation that follows refuses it.

    Args:
        document: as read.
        changes: ``PATH=VALUE`` each, VALUE in YAML, a hole where one may be; later ones win.

    Raises:
        RequestError: no such place, or a VALUE that is no YAML.
    """
    for change in changes:
        document = _changed(document, change)
    return document


def _changed(document: Document, change: str) -> Document:
    path, equals, text = change.partition("=")
    path = path.strip()
    origin = f"--set {path}"
    if not equals or not path or not all(path.split(".")):
        raise RequestError(f"--set {change!r}: expected PATH=VALUE, for example training.steps=100")
    if not text.strip():
        raise RequestError(f"{origin}: found no value; expected PATH=VALUE, null for none")
    keys = path.split(".")
    value = read_text(text, origin, lambda _: origin, tuple(keys)).value
    place, changed = _with(document.value, keys, value, (), origin)
    kept = {at: line for at, line in document.origins.items() if at[: len(place)] != place}
    return Document(document.source, changed, kept | {place: origin})


def _with(node: Any, keys: list[str], value: Any, at: KeyPath, origin: str) -> tuple[KeyPath, Any]:
    """The node with one leaf changed, and the topmost place that is new or different."""
    if not keys:
        return at, value
    key, rest = keys[0], keys[1:]
    if isinstance(node, Mapping) and isinstance(node.get("choice"), list):
        return _with_branch(node, keys, value, at, origin)
    made = isinstance(node, str | None)
    if isinstance(node, str):
        # `sampler: tpe` is short for `sampler: {name: tpe}`
        node = {"name": node}
    elif node is None:
        node = _implied(at)
    if not isinstance(node, Mapping) or any(kind in node for kind in HOLE_KINDS):
        where = _walked(origin, keys) or "the file"
        raise request_error(origin, "", f"{where} is {node!r}, which has no keys; change it whole")
    place, inner = _with(node.get(key), rest, value, (*at, key), origin)
    if made:
        place = at
    elif key not in node:
        place = (*at, key)
    return place, {**node, key: inner}


def _with_branch(
    node: Mapping[str, Any], keys: list[str], value: Any, at: KeyPath, origin: str
) -> tuple[KeyPath, Any]:
    options = list(node["choice"])
    labels = branch_labels(options)
    where = _walked(origin, keys)
    if labels is None:
        problem = f"{where} is a choice among values, which have no keys; change it whole"
        raise request_error(origin, "", problem)
    if keys[0] not in labels:
        problem = f"{where} is a choice among branches and has none called {keys[0]!r}"
        example = f"{where}.{labels[0]}.KEY"
        raise request_error(origin, "", f"{problem}; {nearest(keys[0], labels)}; write {example}")
    index = labels.index(keys[0])
    down = (*at, "choice", index)
    place, options[index] = _with(options[index], keys[1:], value, down, origin)
    return place, {"choice": options}


def _walked(origin: str, keys: list[str]) -> str:
    """The part of the path before the keys that are left."""
    parts = origin.removeprefix("--set ").split(".")
    return ".".join(parts[: len(parts) - len(keys)])


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
