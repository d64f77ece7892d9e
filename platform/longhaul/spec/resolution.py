"""Writing out what a space leaves unsaid, so that later defaults cannot change its meaning."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from longhaul.spec.holes import Choice, Hole, Tree
from longhaul.spec.schema import configuration_fields, plain_type, settings_type
from longhaul_trainers.settings import FieldDescription, Settings, describe, dump

if TYPE_CHECKING:
    from longhaul_trainers.training.settings import TrialConfig


def resolve(tree: Mapping[str, Tree], first: "TrialConfig") -> dict[str, Tree]:
    """The same space with every default written out; resolving it again changes nothing.

    Given keys keep their order, since holes are asked for in it; defaults follow.

    Args:
        tree: ``task``, ``cell`` and ``training``, validated.
        first: any configuration of the space; training steps and batch size come from its protocol
            where the space leaves them open.
    """
    fields = configuration_fields()
    training = _value(fields["training"], tree.get("training") or {})
    lengths = {"steps": first.training.steps, "batch_size": first.training.batch_size}
    return {
        "task": dump(first.task),
        "cell": _value(fields["cell"], tree["cell"]),
        "training": _filled(training, lengths),
    }


def with_selection(tree: Mapping[str, Tree], metric: str) -> dict[str, Tree]:
    """The resolved space with the metric by which trials choose their weights, if none is said."""
    return {**tree, "training": _filled(tree["training"], {"select": metric})}


def _filled(training: Tree, answers: Mapping[str, Any]) -> Tree:
    """A training section, or a choice of some, with answers where it says null."""
    if isinstance(training, Choice):
        return Choice(tuple(_filled(option, answers) for option in training.options))
    if not isinstance(training, Mapping):
        raise AssertionError(f"a training section was validated as {training!r}")
    return {key: answers.get(key) if one is None else one for key, one in training.items()}


def _value(field: FieldDescription, tree: Tree) -> Tree:
    if field.rule.catalogue is not None:
        tree = _named(tree)
    if isinstance(tree, Choice) and tree.labels is not None:
        return Choice(tuple(_mapping(field, option) for option in tree.options))
    if isinstance(tree, Hole):
        return tree
    if isinstance(tree, Mapping):
        return _mapping(field, tree)
    return float(tree) if plain_type(field) is float and type(tree) is int else tree


def _named(tree: Tree) -> Tree:
    # `modrelu` is short for `{name: modrelu}`; a choice among names has them as labels then, so
    # the recorded parameters stay what they are
    if isinstance(tree, str):
        return {"name": tree}
    if isinstance(tree, Choice) and all(isinstance(one, str) for one in tree.options):
        return Choice(tuple({"name": one} for one in tree.options))
    return tree


def _mapping(field: FieldDescription, tree: Mapping[str, Tree]) -> dict[str, Tree]:
    # imported here: a cell brings torch
    from longhaul_trainers.cells.base import CellSettings

    found = settings_type(field, tree)
    if found is None:
        raise AssertionError(f"{field.name} was validated, yet nothing knows {tree!r}")
    fields = describe(found)
    given = {
        key: _value(fields[key], value) if key in fields else value for key, value in tree.items()
    }
    if issubclass(found, CellSettings) and given.get("parameters") is not None:
        # The size follows from the request: beside it, a size would be a second one.
        fields.pop("hidden_size")
        if given.get("hidden_size", 0) is None:
            given.pop("hidden_size")
    return given | {key: _default(one.default) for key, one in fields.items() if key not in given}


def _default(value: Any) -> Any:
    return dump(value) if isinstance(value, Settings) else value
