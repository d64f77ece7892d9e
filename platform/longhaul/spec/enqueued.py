"""Points that a search tries before its sampler decides: ``search: {enqueue: [...]}``.

A point is a mapping of Optuna's dotted names to values, for example the best hyperparameters that
the authors of a cell report. Names that it leaves out are sampled as in any other trial.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from longhaul.spec.document import ENQUEUE, Document, Key, KeyPath
from longhaul.spec.holes import (
    Choice,
    Hole,
    NamedHole,
    Tree,
    describe_hole,
    fill,
    holes,
    plain_text,
)
from longhaul.spec.validation import first_answer
from longhaul_trainers.errors import SettingError, nearest

Point = dict[str, Any]
"""Values by the names of the holes that they fill."""


def without_points(document: Document) -> Document:
    """The same document as if no points were enqueued: they are no part of a configuration."""
    section, key = ENQUEUE
    search = document.value.get(section)
    if not isinstance(search, Mapping) or key not in search:
        return document
    kept = {name: value for name, value in search.items() if name != key}
    return replace(document, value={**document.value, section: kept})


def without_hole(document: Document, name: str) -> Document:
    """The same document with points that say nothing of a hole, for it has been filled.

    What else a point says is still good; one that says nothing else is left out.
    """
    section, key = ENQUEUE
    search = document.value.get(section)
    given = search.get(key) if isinstance(search, Mapping) else None
    if not isinstance(search, Mapping) or not isinstance(given, list):
        return document
    points: list[Any] = []
    places: dict[Key, int] = {}
    for index, point in enumerate(given):
        if isinstance(point, Mapping) and name in point:
            point = {other: value for other, value in point.items() if other != name}
            if not point:
                continue
        places[index] = len(points)
        points.append(point)
    origins = {}
    for place, origin in document.origins.items():
        if place[:2] == ENQUEUE and len(place) > 2:
            if place[2] not in places or place[3:4] == (name,):
                continue
            place = (*ENQUEUE, places[place[2]], *place[3:])
        origins[place] = origin
    value = {**document.value, section: {**search, key: points}}
    return replace(document, value=value, origins=origins)


def read_points(document: Document, tree: Mapping[str, Tree]) -> tuple[Point, ...]:
    """The points that a document enqueues, in their order.

    Args:
        document: as read.
        tree: ``task``, ``cell`` and ``training`` with their holes.

    Raises:
        RequestError: a name that no hole has, a value that its hole does not contain, a hole in a
            branch that the point does not choose, or values that no trial can have together.
    """
    section, key = ENQUEUE
    search = document.value.get(section)
    given = search.get(key) if isinstance(search, Mapping) else None
    if given is None:
        return ()
    if not isinstance(given, list):
        raise document.error(ENQUEUE, f"found {given!r}; expected a list of points")
    known = {found.name: found for found in holes(tree)}
    points = [_point(document, known, one, (*ENQUEUE, i)) for i, one in enumerate(given)]
    for index, point in enumerate(points):
        _try(document, tree, point, (*ENQUEUE, index))
    return tuple(points)


def _point(
    document: Document, known: Mapping[str, NamedHole], given: object, place: KeyPath
) -> Point:
    if not isinstance(given, Mapping) or not given:
        problem = f"found {given!r}; expected the names of holes with their values, for example"
        raise document.error(place, f"{problem} {{training.optimizer.learning_rate: 1e-3}}")
    point: Point = {}
    for name, value in given.items():
        if name not in known:
            problem = f"no hole is called {name!r}; {nearest(name, list(known))}"
            raise document.error((*place, name), problem + _replaced(document, name))
        hole = known[name].hole
        answer = _answer(hole, value)
        if not hole.contains(answer):
            shown = plain_text(value) if not isinstance(value, str) else repr(value)
            problem = f"found {shown}, which {describe_hole(hole)} does not contain"
            raise document.error((*place, name), problem)
        point[name] = answer
    for name in point:
        for choice, label in known[name].condition:
            if point.get(choice) != label:
                problem = f"exists only where {choice} is {label}; expected the point to choose"
                raise document.error((*place, name), f"{problem} it, with {choice}: {label}")
    return point


def _replaced(document: Document, name: str) -> str:
    """Who has replaced the place of a hole that is not there, if anybody has."""
    keys = name.split(".")
    for end in range(len(keys), 0, -1):
        origin = document.origins.get(tuple(keys[:end]), document.source)
        if not origin.startswith(document.source):
            advice = "replace the points as well, with search.enqueue=[{...}], null for none"
            return f". It was replaced by {origin}: {advice}"
    return ""


def _try(document: Document, tree: Mapping[str, Tree], point: Point, place: KeyPath) -> None:
    # imported here: the training package brings torch
    from longhaul_trainers.training.settings import TrialConfig

    try:
        TrialConfig.parse(fill(tree, partial(first_answer, point)))
    except SettingError as error:
        raise document.error(place, f"cannot be trained: {error}") from None


def _answer(hole: Hole, value: object) -> Any:
    """The value as the hole would give it: 1 is the number 1.0 where numbers are asked for."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    if isinstance(hole, Choice):
        numbers = [one for one in hole.answers if isinstance(one, int | float)]
        same = (one for one in numbers if not isinstance(one, bool) and one == value)
        return next(same, value)
    if hole.whole:
        return int(value) if value == int(value) else value
    return float(value)
