"""A configuration as it was read, and where each part of it comes from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from longhaul.errors import RequestError

Key = str | int
KeyPath = tuple[Key, ...]
"""Keys and list indices from the root of a file down to one value."""

ENQUEUE: tuple[str, str] = ("search", "enqueue")
"""Where points are, whose keys are dotted names."""

HOLE_KINDS = ("choice", "uniform", "loguniform", "int", "logint")
LONGEST_PROBLEM = 700


@dataclass(frozen=True)
class Document:
    """Plain values and their origins.

    Attributes:
        source: the file's name as the user knows it.
        value: mappings, lists, texts, numbers, true, false and null.
        origins: where a value was written, for example ``spaces/lstm.yaml:12`` or
            ``--set cell.hidden_size``; a path that is missing here has its parent's origin.
    """

    source: str
    value: Any
    origins: Mapping[KeyPath, str]

    def origin(self, path: KeyPath) -> str:
        """Where the value at ``path`` was written, or the nearest part that contains it."""
        for end in range(len(path), -1, -1):
            if path[:end] in self.origins:
                return self.origins[path[:end]]
        return self.source

    def at(self, path: KeyPath) -> Any:
        """The value at ``path``; None where there is none."""
        node = self.value
        for key in path:
            node = _child(node, key)
        return node

    def error(self, path: KeyPath, problem: str) -> RequestError:
        """The one message for a value that cannot be used."""
        return request_error(self.origin(path), dotted(self.value, path), problem)


def request_error(origin: str, name: str, problem: str) -> RequestError:
    """``ORIGIN: NAME: PROBLEM`` on one line of bearable length.

    The name is left out where the origin ends with it already, as in ``--set cell.hidden_size``.
    """
    parts = [origin, printable(problem)]
    if name and not origin.endswith(f" {name}"):
        parts.insert(1, printable(name))
    return RequestError(": ".join(parts))


def printable(text: str) -> str:
    """The text without control characters, cut in the middle where it is very long."""
    clean = "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)
    if len(clean) <= LONGEST_PROBLEM:
        return clean
    half = LONGEST_PROBLEM // 2
    return f"{clean[:half]} ... {clean[-half:]}"


def branch_labels(options: Sequence[Any]) -> list[str] | None:
    """What the branches of a choice among mappings are called; None for a choice among values.

    The label of a branch is its ``name`` if all branches have one and these differ, else its index.
    """
    if not options or not all(isinstance(option, Mapping) for option in options):
        return None
    names = [option.get("name") for option in options]
    texts = [name for name in names if isinstance(name, str) and name]
    if len(set(texts)) == len(options):
        return texts
    return [str(index) for index in range(len(options))]


def dotted(value: Any, path: KeyPath) -> str:
    """The name of a place as people and Optuna use it: ``cell.exprnn.skew_init``.

    Args:
        value: the document's value, from which the labels of branches are read.
        path: keys and indices; ``choice`` and the index after it become the branch's label, and
            the index of a plain value is left out.
    """
    parts: list[str] = []
    node = value
    index = 0
    while index < len(path):
        key = path[index]
        child = _child(node, key)
        if key in HOLE_KINDS and isinstance(child, list):
            # a hole has the name of its place; of what is inside, branches alone have names
            labels = branch_labels(child) if key == "choice" else None
            chosen = path[index + 1] if index + 1 < len(path) else None
            if labels is not None and isinstance(chosen, int):
                parts.append(labels[chosen])
            node = None if chosen is None else _child(child, chosen)
            index += 2
        else:
            parts.append(str(key))
            node = child
            index += 1
    return ".".join(parts)


def _child(node: Any, key: Key) -> Any:
    if isinstance(node, Mapping):
        return node.get(key)
    if isinstance(node, list) and isinstance(key, int) and key < len(node):
        return node[key]
    return None
