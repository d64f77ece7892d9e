"""Finding the holes in what was read, and refusing those that cannot be one."""

import math
from collections.abc import Mapping
from typing import Any

from longhaul.spec.document import HOLE_KINDS, Document, KeyPath
from longhaul.spec.holes import (
    Choice,
    Hole,
    Int,
    LogInt,
    LogUniform,
    Tree,
    Uniform,
    plain_text,
)
from longhaul_trainers.errors import nearest

_RANGES: dict[str, type[Uniform | LogUniform | Int | LogInt]] = {
    one.kind: one for one in (Uniform, LogUniform, Int, LogInt)
}


def read_holes(document: Document, value: Any = None, path: KeyPath = ()) -> Tree:
    """The tree of a document: mappings with exactly one of the holes' kinds become holes.

    Args:
        document: for its origins.
        value: where to begin, the document's own value by default.
        path: the place of ``value``.

    Raises:
        RequestError: a hole that cannot be one, or a list outside a hole.
    """
    if not path:
        value = document.value
    if isinstance(value, list):
        expected = "expected one value or a hole such as {choice: [a, b]}"
        raise document.error(path, f"found a list; {expected}")
    if not isinstance(value, Mapping):
        return value
    kinds = [kind for kind in HOLE_KINDS if kind in value]
    if not kinds:
        _refuse_misspelt(document, value, path)
        return {key: read_holes(document, one, (*path, key)) for key, one in value.items()}
    if len(value) > 1:
        found = ", ".join(repr(str(key)) for key in value)
        raise document.error(
            path, f"found a hole with the keys {found}; a hole has one key, its kind"
        )
    place = (*path, kinds[0])
    if kinds[0] == "choice":
        return _read_choice(document, value["choice"], place)
    return _read_range(document, kinds[0], value[kinds[0]], place)


def _refuse_misspelt(document: Document, value: Mapping[str, Any], path: KeyPath) -> None:
    # {loguniforms: [1e-4, 1e-2]}: no setting takes a list, so it must have been meant as a hole
    if len(value) == 1:
        (key, inner), *_ = value.items()
        if isinstance(inner, list) and path:
            problem = f"found a list under {key!r}; {nearest(key, list(HOLE_KINDS))}"
            raise document.error((*path, key), problem)


def _read_choice(document: Document, options: Any, path: KeyPath) -> Choice:
    if not isinstance(options, list) or not options:
        found = "an empty list" if options == [] else repr(options)
        raise document.error(path, f"found {found}; expected a list of options to choose from")
    mappings = [isinstance(option, Mapping) for option in options]
    if any(mappings) and not all(mappings):
        odd = mappings.index(not mappings[0])
        raise document.error(
            (*path, odd),
            "found mappings and plain values in one choice; expected either, "
            "for example {name: tanh} beside {name: modrelu, offset: 0.01}",
        )
    read: list[Any] = []
    seen: set[Any] = set()
    for index, option in enumerate(options):
        place = (*path, index)
        if isinstance(option, list):
            raise document.error(place, f"found the list {option!r}; expected a value or a mapping")
        if option in (options[:index] if isinstance(option, Mapping) else seen):
            raise document.error(
                place, f"found the option {option!r} twice; expected options that differ"
            )
        if not isinstance(option, Mapping):
            seen.add(option)
        one = read_holes(document, option, place)
        if isinstance(one, Hole):
            raise document.error(
                place,
                "found a hole as an option of a choice; expected a value, or a mapping in which a "
                "key holds the hole",
            )
        read.append(one)
    return Choice(tuple(read))


def _read_range(document: Document, kind: str, bounds: Any, path: KeyPath) -> Hole:
    made = _RANGES[kind]
    expected = f"expected {kind}: [low, high]"
    if not isinstance(bounds, list) or len(bounds) != 2:
        found = f"{len(bounds)} bounds" if isinstance(bounds, list) else repr(bounds)
        raise document.error(path, f"found {found}; {expected}")
    for index, bound in enumerate(bounds):
        # bool is a subclass of int: `int: [false, true]` must not become 0 and 1
        if type(bound) is not int and (made.whole or type(bound) is not float):
            noun = "whole numbers" if made.whole else "numbers"
            raise document.error(
                (*path, index), f"found the bound {bound!r}; {expected} with {noun}"
            )
    low: Any
    high: Any
    low, high = bounds if made.whole else map(float, bounds)
    if made.log and low <= 0:
        raise document.error(
            path,
            f"found the lower bound {plain_text(low)}; {expected} above 0, where a logarithm is",
        )
    if not low < high or not math.isfinite(high - low):
        found = f"[{plain_text(low)}, {plain_text(high)}]"
        raise document.error(path, f"found {found}; {expected} with low < high")
    return made(low, high)
