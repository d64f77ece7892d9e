"""A search space that has been read, checked and written out in full."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from longhaul.spec.document import ENQUEUE, Document
from longhaul.spec.enqueued import Point, read_points, without_points
from longhaul.spec.hole_reading import read_holes
from longhaul.spec.holes import (
    NamedHole,
    Suggest,
    Tree,
    dump_tree,
    fill,
    fill_recorded,
    holes,
)
from longhaul.spec.loading import read_file, read_text
from longhaul.spec.names import is_name, validate_name
from longhaul.spec.objectives import LOSS, Circumstances, resolved_objective, spelt_out
from longhaul.spec.overrides import override
from longhaul.spec.resolution import resolve, with_selection
from longhaul.spec.search_settings import ResourceSettings, SearchSettings
from longhaul.spec.shipped import find_space
from longhaul.spec.validation import (
    check_values,
    first_answer,
    parse_section,
    refuse_misplaced_holes,
    representatives,
)
from longhaul.spec.writing import to_yaml
from longhaul_trainers.errors import SettingError, nearest
from longhaul_trainers.seeds import derive_seed
from longhaul_trainers.settings import describe, dump

if TYPE_CHECKING:
    from longhaul_trainers.training.settings import TrialConfig

FORMAT = 1
"""Version of the file format; raised when an old file would be read as something else."""

SECTIONS = ["task", "cell", "training"]
KEYS = ["format", "name", "description", *SECTIONS, "search", "resources"]


@dataclass(frozen=True)
class SearchSpec:
    """One space and how it is searched.

    Attributes:
        name: what a search over it is called unless the user says otherwise.
        description: for people.
        tree: ``task``, ``cell`` and ``training`` with every default written out and the holes in
            their places.
        search: trials, seed, sampler, scheduler, objective, tolerance of failures.
        resources: what one trial occupies.
        source: the file that it was read from, for messages.
        enqueue: points to try first, trial 0 the first of them.
    """

    name: str
    description: str
    tree: dict[str, Tree]
    search: SearchSettings
    resources: ResourceSettings
    source: str = field(compare=False, default="")
    enqueue: tuple[Point, ...] = ()

    @classmethod
    def load(cls, space: str, overrides: Sequence[str] = (), name: str | None = None) -> Self:
        """Reads and checks a search space.

        Args:
            space: a file, or the name of a shipped space.
            overrides: changes as ``PATH=VALUE``.
            name: a name for the search instead of the space's own.

        Raises:
            RequestError: one message with file, line (or ``--set PATH``), key and what to do.
        """
        path, own_name = find_space(space)
        document = override(read_file(path), overrides)
        return cls.from_document(document, _name_of(document, name, own_name))

    @classmethod
    def from_text(
        cls, text: str, source: str, overrides: Sequence[str] = (), name: str | None = None
    ) -> Self:
        """Checks a search space that has been read already.

        Args:
            text: YAML, for example that of `to_yaml`.
            source: what to call it in messages.
            overrides: changes as ``PATH=VALUE``.
            name: a name for the search instead of the text's own, or of ``source`` without suffix.

        Raises:
            RequestError: as `load`.
        """
        document = override(read_text(text, source), overrides)
        return cls.from_document(document, _name_of(document, name, Path(source).stem))

    @classmethod
    def from_document(cls, document: Document, name: str) -> Self:
        """Checks what a document says; raises as `load`."""
        _check_keys(document)
        plain = without_points(document)
        tree = read_holes(plain)
        refuse_misplaced_holes(plain, tree)
        search = parse_section(_spelt_out(plain), SearchSettings, "search")
        resources = parse_section(plain, ResourceSettings, "resources")
        space = {key: tree[key] for key in SECTIONS if key in tree}
        first = check_values(plain, space)
        description = tree.get("description") or ""
        resolved = resolve(space, first)
        search = _with_objective(plain, search, resolved, first)
        resolved = with_selection(resolved, search.objective.selects)
        points = read_points(document, resolved)
        return cls(name, description, resolved, search, resources, document.source, points)

    def to_yaml(self) -> str:
        """The resolved file; `from_text` makes an equal spec of it."""
        content = {
            "format": FORMAT,
            "name": self.name,
            "description": self.description,
            **{key: dump_tree(self.tree[key]) for key in SECTIONS},
            "search": dump(self.search) | ({"enqueue": [*self.enqueue]} if self.enqueue else {}),
            "resources": dump(self.resources),
        }
        return to_yaml(content)

    @property
    def sha256(self) -> str:
        """Hash of what decides which configurations are tried, as hexadecimal digits.

        These are the tree, the order in which its holes are asked for, enqueued points, seed,
        sampler, scheduler and objective; with ``order: number`` also how many run at once. Name
        and description do not decide, nor does what a resumed search may change: the number of
        trials, how many run at once, their resources, the tolerance of failures.
        """
        defines = {
            "tree": dump_tree(self.tree),
            "holes": [found.name for found in self.holes()],
            "seed": self.search.seed,
            "sampler": dump(self.search.sampler),
            "scheduler": dump(self.search.scheduler),
        }
        if self.search.order == "number":
            defines["order"] = {"number": self.search.parallel}
        if self.search.objective != LOSS:
            defines["objective"] = dump(self.search.objective)
        if self.enqueue:
            defines["enqueue"] = [*self.enqueue]
        text = json.dumps(defines, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def max_steps(self) -> int:
        """Training steps of a trial that is not stopped."""
        training = self.tree["training"]
        if not isinstance(training, Mapping):
            # a choice of whole training sections: they share their steps
            training = training.options[0]
        return int(training["steps"])

    def rungs(self) -> list[int]:
        """The step counts at which the scheduler compares trials; the last is `max_steps`."""
        return self.search.scheduler.rungs(self.max_steps)

    def holes(self) -> list[NamedHole]:
        """All holes, in the order in which they are asked for."""
        return list(holes(self.tree))

    def trial(self, suggest: Suggest, number: int) -> dict[str, Any]:
        """The configuration of one trial, as `TrialConfig.parse` takes it.

        A number of parameters has become the hidden size that comes nearest to it.

        Args:
            suggest: answers for the holes (see `longhaul.spec.holes.suggest_from`).
            number: the trial's number, from which its seed derives.
        """
        return _sized(fill(self.tree, suggest)) | {"seed": self.trial_seed(number)}

    def recorded_trial(self, params: Mapping[str, Any], number: int) -> dict[str, Any]:
        """As `trial`, from recorded Optuna parameters.

        Raises:
            LonghaulError: the parameters are not of this space.
        """
        return _sized(fill_recorded(self.tree, params)) | {"seed": self.trial_seed(number)}

    def trial_seed(self, number: int) -> int:
        """Master seed of one trial."""
        return derive_seed(self.search.seed, "trial", number)


def _sized(config: dict[str, Any]) -> dict[str, Any]:
    cell = config["cell"]
    if cell.get("parameters") is None:
        return config
    # imported here: the training package brings torch
    from longhaul_trainers.training.settings import TrialConfig

    try:
        size = TrialConfig.parse(config).cell.hidden_size
    except SettingError:
        return config  # the trial will fail, and say why
    named = {"name": cell["name"], "hidden_size": size}
    return config | {"cell": named | cell | {"hidden_size": size, "parameters": None}}


def _spelt_out(document: Document) -> Document:
    """The document with the objective as a mapping, where it is the name of a metric."""
    search = document.value.get("search")
    if not isinstance(search, Mapping) or "objective" not in search:
        return document
    search = {**search, "objective": spelt_out(search["objective"])}
    return replace(document, value={**document.value, "search": search})


def _with_objective(
    document: Document, search: SearchSettings, tree: dict[str, Tree], first: "TrialConfig"
) -> SearchSettings:
    from longhaul_trainers.catalogue import TASKS

    sizes = [
        fill(tree, partial(first_answer, answers))["training"]["batch_size"]
        for answers in representatives(tree)
    ]
    space = Circumstances(
        task=TASKS.get(first.task.name)(first.task),
        steps=first.training.steps or 0,
        batch_size=max(sizes),
    )
    try:
        return search.with_changes(objective=resolved_objective(search.objective, space))
    except SettingError as error:
        raise document.error(("search", *error.path.split(".")), error.problem) from None


def _check_keys(document: Document) -> None:
    value = document.value
    if not isinstance(value, Mapping):
        found = "nothing" if value is None else f"{type(value).__name__} {value!r}"
        raise document.error((), f"found {found}; expected a mapping with task, cell and training")
    for key in value:
        if key not in KEYS:
            raise document.error((key,), f"unknown key {key!r}; {nearest(key, KEYS)}")
    search = value.get("search")
    known = [*describe(SearchSettings), ENQUEUE[1]]
    for key in search if isinstance(search, Mapping) else ():
        if key not in known:
            raise document.error(("search", key), f"unknown key {key!r}; {nearest(key, known)}")
    if value.get("format", FORMAT) != FORMAT or isinstance(value.get("format"), bool):
        raise document.error(
            ("format",), f"found {value['format']!r}; expected {FORMAT}, which this version reads"
        )
    for key in ("name", "description"):
        if not isinstance(value.get(key, ""), str | None):
            raise document.error((key,), f"found {value[key]!r}; expected a text")


def _name_of(document: Document, chosen: str | None, own_name: str) -> str:
    """The name that the user chose, or else that in the document, or else its own."""
    value = document.value
    given = value.get("name") if isinstance(value, Mapping) else None
    if given is not None:
        given = validate_name(given, f"{document.origin(('name',))}: name")
    if chosen is not None:
        return validate_name(chosen)
    if given is None and not is_name(own_name):
        advice = "rename the file, or give another with --name"
        raise document.error((), f"{own_name!r} cannot be the name of a search; {advice}")
    return given or own_name
