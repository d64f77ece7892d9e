"""Reading YAML that somebody else wrote, without being harmed by it.

The scalars are those of the core schema of YAML 1.2: ``1e-3`` is a number, ``yes``, ``no``, ``on``
and ``off`` are texts. Tags are refused, so that nothing but plain values can come out. Size, depth
and the number of values after the expansion of aliases are limited while the text is composed, that
is before anything grows.
"""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from yaml.events import AliasEvent, Event
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.reader import ReaderError

from longhaul.errors import RequestError
from longhaul.spec.document import ENQUEUE, Document, KeyPath, dotted, request_error

LARGEST_FILE_BYTES = 1_000_000
DEEPEST_NESTING = 40
MOST_NODES = 10_000

NULL = re.compile(r"(?:~|null|Null|NULL|)\Z")
BOOL = re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z")
INT = re.compile(r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z")
FLOAT = re.compile(
    r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z"
)


def read_file(path: Path, source: str | None = None) -> Document:
    """Reads one YAML file.

    Args:
        path: a regular file.
        source: what to call it in messages, the path itself by default.

    Raises:
        RequestError: there is no such file, or `read_text` refuses what it holds.
    """
    source = source or str(path)
    if not path.is_file():
        found = "a folder" if path.is_dir() else "no such file"
        raise RequestError(f"{source}: {found}; expected a YAML file")
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE_BYTES + 1)
    except OSError as error:
        raise RequestError(f"{source}: cannot be read: {error.strerror}") from error
    if len(content) > LARGEST_FILE_BYTES:
        raise RequestError(
            f"{source}: more than {LARGEST_FILE_BYTES:,} bytes; a search space is far smaller"
        )
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise RequestError(f"{source}:{line}: not UTF-8 text ({error.reason})") from error
    return read_text(text, source)


def read_text(
    text: str,
    source: str,
    origin: Callable[[int], str] | None = None,
    place: KeyPath = (),
) -> Document:
    """Reads one YAML document.

    Args:
        text: the YAML.
        source: what to call it in messages.
        origin: turns a line number (the first is 1) into an origin; ``SOURCE:LINE`` by default.
        place: where in a search space the text is to stand; there may be dots in the keys of the
            points that a search enqueues.

    Raises:
        RequestError: not YAML, or YAML with tags, repeated keys, keys that are no texts, several
            documents, numbers that are not finite, or more than the limits allow.
    """
    origin = origin or (lambda line: f"{source}:{line}")
    # A text from elsewhere than a file has not been measured yet; characters will do.
    if len(text) > LARGEST_FILE_BYTES:
        raise RequestError(f"{source}: more than {LARGEST_FILE_BYTES:,} characters")
    loader = _opened(text, origin)
    try:
        node = loader.get_single_node()
    except _Refused as error:
        raise RequestError(f"{origin(error.line)}: {error}") from None
    except yaml.MarkedYAMLError as error:
        raise _malformed(error, origin) from None
    except (ValueError, OverflowError):
        # PyYAML hands the number of an escape such as "\UFFFFFFFF" to chr() unseen
        line = loader.line + 1
        raise RequestError(f"{origin(line)}: not valid YAML: no such character") from None
    return _Building(source, origin, loader.tags, place).document(node)


def _opened(text: str, origin: Callable[[int], str]) -> "_Composing":
    try:
        return _Composing(text)
    except ReaderError as error:
        line = text[: error.position].count("\n") + 1
        found = f"the character U+{ord(text[error.position]):04X}"
        raise RequestError(f"{origin(line)}: not valid YAML: {found} is not allowed") from None


class _Refused(Exception):  # noqa: N818 - never leaves this file
    def __init__(self, node: Node | Event, problem: str) -> None:
        super().__init__(problem)
        self.line = 1 if node.start_mark is None else node.start_mark.line + 1


class _Composing(yaml.SafeLoader):
    """Composes a tree of nodes and counts as it goes."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.tags: dict[int, str] = {}
        self._nodes = 0
        self._depth = 0
        # per finished node: the values and the levels it expands to
        self._weights: dict[int, int] = {}
        self._heights: dict[int, int] = {}

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        event: Event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, AliasEvent):
            return self._alias(event, super().compose_node(parent, index))
        self._count(event, 1, 1)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        if node is None:
            return None
        tag = getattr(event, "tag", None)
        if tag is not None:
            self.tags[id(node)] = str(tag)
        children = _children(node)
        self._weights[id(node)] = 1 + sum(self._weights[id(child)] for child in children)
        self._heights[id(node)] = 1 + max((self._heights[id(one)] for one in children), default=0)
        return node

    def _alias(self, event: AliasEvent, node: Node | None) -> Node | None:
        if id(node) not in self._weights:
            raise _Refused(event, f"the alias *{event.anchor} refers to a part that contains it")
        self._count(event, self._weights[id(node)], self._heights[id(node)])
        return node

    def _count(self, event: Event, weight: int, height: int) -> None:
        self._nodes += weight
        if self._nodes > MOST_NODES:
            raise _Refused(
                event, f"more than {MOST_NODES:,} values, aliases expanded; a space needs far fewer"
            )
        if self._depth + height > DEEPEST_NESTING:
            raise _Refused(event, f"nested more than {DEEPEST_NESTING} levels deep")


def _children(node: Node) -> list[Node]:
    if isinstance(node, MappingNode):
        return [one for pair in node.value for one in pair]
    return list(node.value) if isinstance(node, SequenceNode) else []


class _Building:
    """Turns nodes into plain values and notes where each was written."""

    def __init__(
        self, source: str, origin: Callable[[int], str], tags: dict[int, str], place: KeyPath
    ) -> None:
        self._place = place
        self._source = source
        self._origin = origin
        self._tags = tags
        self._origins: dict[KeyPath, str] = {}

    def document(self, node: Node | None) -> Document:
        if node is None:
            return Document(self._source, None, {(): self._origin(1)})
        return Document(self._source, self._value(node, ()), self._origins)

    def _value(self, node: Node, path: KeyPath) -> Any:
        self._origins.setdefault(path, self._origin(node.start_mark.line + 1))
        if id(node) in self._tags:
            raise self._error(node, path, f"found the tag {self._tags[id(node)]!r}; no tag is read")
        if isinstance(node, MappingNode):
            return self._mapping(node, path)
        if isinstance(node, SequenceNode):
            return [self._value(child, (*path, i)) for i, child in enumerate(node.value)]
        return self._scalar(node, path)

    def _mapping(self, node: MappingNode, path: KeyPath) -> dict[str, Any]:
        found: dict[str, Any] = {}
        first: dict[str, int] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node, path)
            line = key_node.start_mark.line + 1
            if key in found:
                raise self._error(
                    key_node, (*path, key), f"given twice, first in line {first[key]}"
                )
            first[key] = line
            self._origins[(*path, key)] = self._origin(line)
            found[key] = self._value(value_node, (*path, key))
        return found

    def _key(self, node: Node, path: KeyPath) -> str:
        key = self._value(node, path)
        if not isinstance(key, str):
            raise self._error(node, path, f"found the key {key!r}; expected a text as key")
        if key == "<<":
            raise self._error(node, path, "found the merge key '<<'; repeat the keys instead")
        in_point = (*self._place, *path)[:-1] == ENQUEUE
        if not key or ("." in key and not in_point):
            raise self._error(
                node, path, f"found the key {key!r}; dots separate keys, nest the mapping instead"
            )
        return key

    def _scalar(self, node: Node, path: KeyPath) -> Any:
        text: str = node.value
        if not isinstance(node, ScalarNode) or node.style is not None:
            return self._text(node, text, path)
        if NULL.match(text):
            return None
        if BOOL.match(text):
            return text.lower() == "true"
        if INT.match(text):
            return self._whole_number(node, text, path)
        if FLOAT.match(text):
            number = math.nan if text[-1] in "fFnN" else float(text)
            if not math.isfinite(number):
                raise self._error(node, path, f"found {text}; expected a finite number")
            return number
        return self._text(node, text, path)

    def _whole_number(self, node: Node, text: str, path: KeyPath) -> int:
        # The length first: Python takes quadratic time over long ones and refuses longer ones.
        number = int(text, 0 if text[:2] in ("0o", "0x") else 10) if len(text) < 30 else 1 << 63
        if not -(1 << 63) < number < 1 << 63:
            raise self._error(node, path, f"found {text[:40]}; expected a number below 2^63")
        return number

    def _text(self, node: Node, text: str, path: KeyPath) -> str:
        if any("\ud800" <= one <= "\udfff" for one in text):
            raise self._error(node, path, "found half of a surrogate pair; expected text")
        return text

    def _error(self, node: Node, path: KeyPath, problem: str) -> RequestError:
        # the whole value is not there yet, so branches are named by their index
        name = dotted(None, path)
        return request_error(self._origin(node.start_mark.line + 1), name, problem)


def _malformed(error: yaml.MarkedYAMLError, origin: Callable[[int], str]) -> RequestError:
    mark = error.problem_mark or error.context_mark
    line = 1 if mark is None else mark.line + 1
    if error.context == "expected a single document in the stream":
        problem = "found a second document; expected one file to hold one search space"
    else:
        problem = "not valid YAML: " + ", ".join(
            part for part in (error.context, error.problem) if part
        )
    return request_error(origin(line), "", problem)
