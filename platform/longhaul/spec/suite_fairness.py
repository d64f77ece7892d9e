"""What must be equal for a suite's searches to be comparable, and what may stand beside them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from longhaul.spec.document import Document, KeyPath
from longhaul_trainers.errors import nearest
from longhaul_trainers.settings import dump, parse_component

if TYPE_CHECKING:
    from longhaul.spec.search_spec import SearchSpec
    from longhaul.spec.suite import SuiteSearch
    from longhaul_trainers.tasks.base import Score

MEASURED = ("steps", "evaluate_every", "validation_size", "test_size")
"""Training settings that must agree on one task: what a trial may spend, and what measures it."""


def refuse_unequal(document: Document, searches: "Sequence[SuiteSearch]") -> None:
    """Refuses searches on one task that are not measured alike.

    Raises:
        RequestError: with the place of the search at fault.
    """
    first: dict[str, tuple[int, Mapping[str, Any]]] = {}
    for index, search in enumerate(searches):
        spec = search.spec
        task, measured = task_key(spec.tree["task"]), _measured(spec)
        number, wanted = first.setdefault(task, (index, measured))
        for key in MEASURED:
            if measured[key] != wanted[key]:
                problem = (
                    f"training.{key} is {measured[key]} in {spec.name} and {wanted[key]} in "
                    f"{searches[number].spec.name}, which has the same task; make them equal, "
                    f"for example with set: [training.{key}={wanted[key]}] for all searches"
                )
                raise document.error(("searches", index), problem)


def task_key(task: Mapping[str, Any]) -> str:
    """What tells tasks apart: searches with equal keys belong into one table."""
    import json

    return json.dumps(task, sort_keys=True)


def refuse_unpublished(document: Document, place: KeyPath, spec: "SearchSpec", model: str) -> None:
    """Refuses a published score that the search's protocol does not list.

    Raises:
        RequestError: with the nearest model that it lists.
    """
    known = list(dict.fromkeys(score.model for score in _published(spec.tree["task"])))
    if model not in known:
        problem = f"no score is published of {model!r} under this protocol"
        raise document.error(place, f"{problem}; {nearest(model, known)}")


def published_score(task: Mapping[str, Any], model: str) -> "tuple[Score, bool] | None":
    """The published score of a model that fits a task best, and whether its setting holds here.

    Args:
        task: settings as a search's specification has them.
        model: as the protocol names it.
    """
    scores = [score for score in _published(task) if score.model == model]
    set_apart = [score for score in scores if score.setting]
    for score in set_apart:
        if _holds(score.setting, task):
            return score, True
    plain = next((score for score in scores if not score.setting), None)
    # What a score without a setting of its own leaves at its default, the others' settings tell.
    others = {key for score in set_apart for key in _mapping(score.setting)}
    if plain is not None and all(task.get(key) == _defaults(task).get(key) for key in others):
        return plain, True
    return (set_apart[0], False) if set_apart else None


def _published(task: Mapping[str, Any]) -> "tuple[Score, ...]":
    from longhaul_trainers.catalogue import TASKS

    settings = parse_component(TASKS, task, "task")
    found: tuple[Score, ...] = TASKS.get(settings.name)(settings).protocol.published
    return found


def _holds(setting: str, task: Mapping[str, Any]) -> bool:
    return all(task.get(key) == one for key, one in _mapping(setting).items())


def _mapping(setting: str) -> Mapping[str, Any]:
    from longhaul.spec.loading import read_text

    value = read_text(setting, "setting").value
    return value if isinstance(value, Mapping) else {}


def _defaults(task: Mapping[str, Any]) -> Mapping[str, Any]:
    from longhaul_trainers.catalogue import TASKS

    return dump(parse_component(TASKS, {"name": task["name"]}, "task"))


def _measured(spec: "SearchSpec") -> Mapping[str, Any]:
    from longhaul.spec.holes import Choice

    training = spec.tree["training"]
    # Branches of a choice of whole training sections share these.
    shared: Mapping[str, Any] = training.options[0] if isinstance(training, Choice) else training
    return shared
