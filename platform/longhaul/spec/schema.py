"""Which settings a part of a search space stands for."""

from collections.abc import Iterator, Mapping
from dataclasses import MISSING
from types import NoneType
from typing import Any, get_args

from longhaul.spec.document import KeyPath
from longhaul.spec.holes import Choice, Tree
from longhaul_trainers.catalogue import CELLS, TASKS
from longhaul_trainers.errors import BrokenPackageError, UnknownNameError
from longhaul_trainers.settings import FieldDescription, FieldRule, Settings


def configuration_fields() -> dict[str, FieldDescription]:
    """The parts of a trial's configuration as fields: ``task``, ``cell``, ``training``."""
    # imported here: the training package brings torch
    from longhaul_trainers.training.settings import TrainingSettings

    task, cell = (FieldRule(help="", catalogue=one) for one in (TASKS, CELLS))
    return {
        "task": FieldDescription("task", Settings, task, MISSING),
        "cell": FieldDescription("cell", Settings, cell, MISSING),
        "training": FieldDescription("training", TrainingSettings, FieldRule(help=""), MISSING),
    }


def branches(field: FieldDescription, tree: Tree) -> Iterator[tuple[Mapping[str, Any], KeyPath]]:
    """The mappings that a field may hold, each with the way down to it: one, or a choice's."""
    if isinstance(tree, Choice) and tree.labels is not None:
        for index, option in enumerate(tree.options):
            yield option, ("choice", index)
    elif isinstance(tree, Mapping):
        yield tree, ()


def settings_type(field: FieldDescription, value: Mapping[str, Any]) -> type[Settings] | None:
    """The settings class that a mapping in this field stands for, None where nothing knows it."""
    if field.rule.catalogue is not None:
        try:
            return field.rule.catalogue.settings_type(value.get("name"))
        except (BrokenPackageError, UnknownNameError):
            return None
    wanted = plain_type(field)
    if isinstance(wanted, type) and issubclass(wanted, Settings):
        return wanted
    return None


def plain_type(field: FieldDescription) -> Any:
    """The field's type without ``| None``."""
    arms = [arm for arm in get_args(field.type) if arm is not NoneType]
    return arms[0] if NoneType in get_args(field.type) else field.type
