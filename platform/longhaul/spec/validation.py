"""Whether every configuration of a space can be trained, and where it says so if not.

The product of all holes is never formed. Each hole is tried alone, at its bounds or with each of
its options, while the others keep their first values; so branches are tried one after another.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from longhaul.errors import RequestError
from longhaul.redaction import redact
from longhaul.spec.document import Document, KeyPath
from longhaul.spec.holes import (
    Choice,
    Hole,
    LogUniform,
    Range,
    Tree,
    Uniform,
    describe_hole,
    fill,
    holes,
)
from longhaul.spec.schema import branches, configuration_fields, settings_type
from longhaul_trainers.errors import SettingError, UnknownNameError
from longhaul_trainers.settings import FieldDescription, Settings, describe, parse

if TYPE_CHECKING:
    from longhaul_trainers.training.settings import TrialConfig

S = TypeVar("S", bound=Settings)

FIXED_SECTIONS = {
    "task": "all trials of a search have the same task; write one file a task",
    "search": "a search is set up before its first trial",
    "resources": "all trials of a search occupy the same resources",
}
"""Parts of a file without holes, and why."""


def refuse_secrets(document: Document) -> None:
    """Refuses texts that look as if they held a password or a token.

    Raises:
        RequestError: with the place, and without the secret.
    """
    for path, text in _texts(document.value, ()):
        if (without := redact(text)) != text:
            problem = (
                f"found what looks like a secret ({without}); the configuration of a search is "
                "shown to everybody who may see its results: take it out, or write it otherwise"
            )
            raise document.error(path, problem)


def _texts(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    if isinstance(value, str):
        yield path, value
    pairs: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, Mapping):
        pairs = value.items()
    elif isinstance(value, list):
        pairs = enumerate(value)
    for key, one in pairs:
        yield from _texts(one, (*path, key))


def refuse_misplaced_holes(document: Document, tree: Mapping[str, Tree]) -> None:
    """Refuses holes where all trials must have one value.

    Raises:
        RequestError: with the place and the reason.
    """
    for section, reason in FIXED_SECTIONS.items():
        _refuse_hole(document, tree.get(section), (section,), reason)
    _visit(document, tree, configuration_fields(), ())


def _visit(
    document: Document,
    tree: Mapping[str, Tree],
    fields: Mapping[str, FieldDescription],
    at: KeyPath,
) -> None:
    for key, value in tree.items():
        place = (*at, key)
        if key == "name":
            reason = "a name decides which keys there are, so choose among whole mappings"
            _refuse_hole(
                document, value, place, f"{reason}: {{choice: [{{name: a}}, {{name: b}}]}}"
            )
        if key not in fields:
            continue  # a key that nothing knows is refused with the values
        field = fields[key]
        if not field.rule.searchable:
            _refuse_hole(document, value, place, "all trials of a search share this value")
        _refuse_unequal(document, field, value, place)
        for option, down in branches(field, value):
            found = settings_type(field, option)
            inner = {} if found is None else describe(found)
            _visit(document, option, inner, (*place, *down))


def _refuse_hole(document: Document, tree: Tree, place: KeyPath, reason: str) -> None:
    found = next(holes(tree), None)
    if found is not None:
        problem = f"found the hole {describe_hole(found.hole)}; expected one value: {reason}"
        raise document.error((*place, *found.place), problem)


def _refuse_unequal(
    document: Document, field: FieldDescription, tree: Tree, place: KeyPath
) -> None:
    """Refuses branches of one section, for example ``training``, with unlike values to share."""
    options = list(branches(field, tree))
    if field.rule.catalogue is not None or len(options) < 2:
        return  # branches that are different things have nothing to share
    found = settings_type(field, options[0][0])
    for key, shared in describe(found).items() if found is not None else ():
        values = [option.get(key, shared.default) for option, _ in options]
        if shared.rule.searchable or values == [values[0]] * len(values):
            continue
        unlike = next(index for index, value in enumerate(values) if value != values[0])
        problem = f"found {values[0]!r} in one branch of a choice and {values[unlike]!r} in another"
        where = (*place, *options[unlike][1], key)
        raise document.error(where, f"{problem}; all trials of a search share this value")


def check_values(document: Document, tree: Mapping[str, Tree]) -> "TrialConfig":
    """Parses representative configurations of the space.

    Args:
        document: for origins.
        tree: ``task``, ``cell`` and ``training``, as far as they are given.

    Returns:
        The configuration in which each hole has its first value.

    Raises:
        RequestError: with the place in the file of the value at fault.
    """
    from longhaul_trainers.training.settings import TrialConfig

    first = None
    for answers in representatives(tree):
        config = fill(tree, partial(first_answer, answers))
        try:
            parsed = TrialConfig.parse(config)
        except SettingError as error:
            raise _located(document, tree, answers, error) from None
        first = first or parsed
    if first is None:
        raise AssertionError("there is always one representative")
    return first


def representatives(tree: Tree) -> Iterator[dict[str, Any]]:
    """Answers that together try every bound and every option once; holes not named: their first."""
    yield {}
    for found in holes(tree):
        for answer in found.hole.representatives:
            yield dict(found.condition) | {found.name: answer}


def first_answer(answers: Mapping[str, Any], name: str, hole: Hole) -> Any:
    """The answer given for a hole, or its first one; a `Suggest` once ``answers`` are bound."""
    return answers.get(name, hole.representatives[0])


def parse_section(document: Document, kind: type[S], section: str) -> S:
    """The settings in one section without holes, for example ``search``.

    Raises:
        RequestError: with the place of the key at fault.
    """
    value = document.value.get(section)
    try:
        return parse(kind, {} if value is None else value, section)
    except SettingError as error:
        raise _located(document, document.value, {}, error) from None


def _located(
    document: Document, tree: Tree, answers: Mapping[str, Any], error: SettingError
) -> RequestError:
    place, hole = _place(tree, answers, error.path)
    problem = error.problem
    if isinstance(hole, Range) and not isinstance(error, UnknownNameError):
        problem += f"; {describe_hole(hole)} reaches it"
        if isinstance(hole, Uniform | LogUniform) and "expected a whole number" in problem:
            problem += ", use int or logint here"
    return document.error(place, problem)


def _place(tree: Tree, answers: Mapping[str, Any], path: str) -> tuple[KeyPath, Hole | None]:
    # A path of a configuration does not tell branches apart; the answers do.
    place: KeyPath = ()
    name = ""
    node = tree
    for key in path.split("."):
        while isinstance(node, Choice) and node.labels is not None:
            answer = first_answer(answers, name, node)
            place = (*place, "choice", node.answers.index(answer))
            name = f"{name}.{answer}"
            node = node.value(answer)
        place = (*place, key)
        name = f"{name}.{key}" if name else key
        node = node.get(key) if isinstance(node, Mapping) else None
    if not isinstance(node, Hole):
        return place, None
    if isinstance(node, Choice):
        return (*place, "choice", node.answers.index(first_answer(answers, name, node))), node
    return place, node
