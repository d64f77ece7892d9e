"""A suite: several searches under one budget rule, to be compared.

A suite is YAML like a space, read by the same reader::

    description: nnRNN's rivals on copying
    budget: {trials: 16, steps: 2000}
    seeds: 5
    set: [task.delay=100]
    searches:
    - space: copying/nnrnn
      set: [cell.hidden_size=64]
    - {space: copying/lstm, label: LSTM, published: "LSTM, n = 128"}

``set`` changes leaves as ``--set`` does on the command line, for all searches or for one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from longhaul.errors import RequestError
from longhaul.spec.document import Document, KeyPath
from longhaul.spec.loading import read_file
from longhaul.spec.names import is_name, validate_name
from longhaul.spec.overrides import override
from longhaul.spec.search_settings import SCHEDULERS, ASHASettings, SchedulerSettings
from longhaul.spec.search_spec import SearchSpec
from longhaul.spec.shipped import find_space, find_suite
from longhaul.spec.suite_fairness import refuse_unequal, refuse_unpublished
from longhaul.spec.validation import parse_section, refuse_secrets
from longhaul_trainers.errors import nearest
from longhaul_trainers.settings import Settings, component, describe, dump, setting

FORMAT = 1
KEYS = ["format", "name", "description", "source", "budget", "seeds", "set", "searches"]
SEARCH_KEYS = ["space", "label", "published", "set"]
DEFAULT_SEEDS = 5
MOST_TRIALS = 1_000_000
"""Where seconds alone are the budget."""


@dataclass(frozen=True, kw_only=True)
class BudgetSettings(Settings):
    """What each search of a suite may spend; all of them the same."""

    trials: int | None = setting(
        None, ge=1, le=MOST_TRIALS, help="trials of a search; null: as many as the seconds allow"
    )
    steps: int | None = setting(
        None, ge=1, help="training steps of a trial; null: those of its space, equal on one task"
    )
    seconds: float | None = setting(
        None, gt=0, help="seconds of a search in which trials may begin; null: no limit"
    )
    scheduler: SchedulerSettings = component(
        SCHEDULERS, ASHASettings(), help="who stops trials early, in all searches"
    )

    def changes(self) -> list[str]:
        """What a space must be changed in to keep to this budget."""
        # imported here: only those who write YAML pay for the writer
        from longhaul.spec.writing import to_yaml

        found: dict[str, Any] = {
            "search.trials": self.trials or MOST_TRIALS,
            "search.seconds": self.seconds,
            "search.scheduler": dump(self.scheduler),
        }
        if self.steps is not None:
            found["training.steps"] = self.steps
        return [f"{path}={to_yaml(value)}" for path, value in found.items()]


@dataclass(frozen=True)
class SuiteSearch:
    """One search of a suite.

    Attributes:
        label: what it is called in the table.
        spec: what is searched; its name is ``SUITE-N-...``.
        published: the model, as the task's protocol names it, whose published score stands beside.
    """

    label: str
    spec: SearchSpec
    published: str | None = None


@dataclass(frozen=True)
class Suite:
    """A suite that has been read and checked.

    Attributes:
        name: what its searches' names begin with.
        description: for people.
        source: the paper whose table it is, if any.
        budget: what each search may spend.
        seeds: fresh seeds from which each search's best configuration is trained for the table.
        searches: in the order of the table.
        file: what it was read from, for messages.
    """

    name: str
    description: str
    source: str
    budget: BudgetSettings
    seeds: int
    searches: tuple[SuiteSearch, ...]
    file: str = field(compare=False, default="")

    @classmethod
    def load(cls, suite: str, overrides: Sequence[str] = (), name: str | None = None) -> Self:
        """Reads and checks a suite and all its searches.

        Args:
            suite: a file, or the name of a shipped suite.
            overrides: changes as ``PATH=VALUE``: of the suite itself where PATH begins with
                ``budget`` or is ``seeds``, of every search otherwise.
            name: a name for the suite instead of its own.

        Raises:
            RequestError: one message with file, line, key and what to do.
        """
        path, own_name = find_suite(suite)
        own = [one for one in overrides if _is_of_suite(one)]
        shared = [one for one in overrides if not _is_of_suite(one)]
        document = override(read_file(path), own)
        refuse_secrets(document)
        _check_keys(document)
        chosen = validate_name(name or document.value.get("name") or own_name)
        budget = parse_section(document, BudgetSettings, "budget")
        if budget.trials is None and budget.seconds is None:
            problem = "found neither trials nor seconds; expected one of them, or both"
            raise document.error(("budget",), problem)
        reading = _Reading(document, path, chosen, budget, shared)
        searches = tuple(reading.search(i) for i in range(len(document.value["searches"])))
        refuse_unequal(document, searches)
        return cls(
            name=chosen,
            description=document.value.get("description") or "",
            source=document.value.get("source") or "",
            budget=budget,
            seeds=document.value.get("seeds", DEFAULT_SEEDS),
            searches=searches,
            file=document.source,
        )


def is_suite(given: str) -> bool:
    """Whether what was given on a command line is a suite rather than a space.

    Raises:
        RequestError: it is a file that is no YAML.
    """
    try:
        path, _ = find_suite(given)
    except RequestError:
        return False
    value = read_file(path).value
    return isinstance(value, Mapping) and "searches" in value


@dataclass(frozen=True)
class _Reading:
    """What all searches of a suite have in common while they are read."""

    document: Document
    path: Path
    suite: str
    budget: BudgetSettings
    overrides: Sequence[str]

    def search(self, index: int) -> SuiteSearch:
        given, place = self.document.value["searches"][index], ("searches", index)
        file, own_name = self._space(given["space"], (*place, "space"))
        space = override(read_file(file), self.document.value.get("set") or (), self._at(("set",)))
        space = override(space, given.get("set") or (), self._at((*place, "set")))
        space = override(space, self.overrides)
        space = override(space, self.budget.changes(), self._at(("budget",)))
        name = f"{self.suite}-{index + 1}-{own_name}"
        if not is_name(name):
            problem = f"its search would be called {name!r}; expected shorter, plainer names"
            raise self.document.error(place, problem)
        refuse_secrets(space)
        spec = SearchSpec.from_document(space, name)
        published = given.get("published")
        if published is not None:
            refuse_unpublished(self.document, (*place, "published"), spec, published)
        return SuiteSearch(given.get("label") or given["space"], spec, published)

    def _space(self, given: str, place: KeyPath) -> tuple[Path, str]:
        beside = self.path.parent / given
        try:
            return find_space(str(beside) if beside.is_file() else given)
        except RequestError as error:
            raise self.document.error(place, str(error)) from None

    def _at(self, place: KeyPath) -> Any:
        origin = self.document.origin(place)
        return lambda path: f"{origin}: {path}" if path else origin


def _is_of_suite(change: str) -> bool:
    path = change.partition("=")[0].strip()
    return path == "seeds" or path.split(".")[0] == "budget"


def _check_keys(document: Document) -> None:
    value = document.value
    if not isinstance(value, Mapping):
        raise document.error((), f"found {value!r}; expected a mapping with budget and searches")
    for key in value:
        if key not in KEYS:
            raise document.error((key,), f"unknown key {key!r}; {nearest(key, KEYS)}")
    if value.get("format", FORMAT) != FORMAT or isinstance(value.get("format"), bool):
        raise document.error(("format",), f"found {value['format']!r}; expected {FORMAT}")
    for key in ("name", "description", "source"):
        if not isinstance(value.get(key, ""), str | None):
            raise document.error((key,), f"found {value[key]!r}; expected a text")
    budget = value.get("budget")
    for key in budget if isinstance(budget, Mapping) else ():
        if key not in describe(BudgetSettings):
            known = list(describe(BudgetSettings))
            raise document.error(("budget", key), f"unknown key {key!r}; {nearest(key, known)}")
    seeds = value.get("seeds", DEFAULT_SEEDS)
    if type(seeds) is not int or not 2 <= seeds <= 1000:
        problem = f"found {seeds!r}; expected a whole number from 2 to 1000: one has no interval"
        raise document.error(("seeds",), problem)
    _check_changes(document, ("set",), value.get("set"))
    searches = value.get("searches")
    if not isinstance(searches, list) or not searches:
        raise document.error(("searches",), f"found {searches!r}; expected a list of searches")
    for index, one in enumerate(searches):
        _check_search(document, ("searches", index), one)


def _check_search(document: Document, place: KeyPath, given: object) -> None:
    if not isinstance(given, Mapping):
        raise document.error(place, f"found {given!r}; expected {{space: copying/lstm}}")
    for key in given:
        if key not in SEARCH_KEYS:
            problem = f"unknown key {key!r}; {nearest(key, SEARCH_KEYS)}"
            raise document.error((*place, key), problem)
    if not isinstance(given.get("space"), str):
        problem = f"found {given.get('space')!r}; expected a file or the name of a shipped space"
        raise document.error((*place, "space"), problem)
    for key in ("label", "published"):
        if not isinstance(given.get(key, ""), str | None):
            raise document.error((*place, key), f"found {given[key]!r}; expected a text")
    _check_changes(document, (*place, "set"), given.get("set"))


def _check_changes(document: Document, place: KeyPath, given: object) -> None:
    if given is None or (isinstance(given, list) and all(isinstance(one, str) for one in given)):
        return
    problem = f"found {given!r}; expected a list of PATH=VALUE, as --set takes them"
    raise document.error(place, problem)
