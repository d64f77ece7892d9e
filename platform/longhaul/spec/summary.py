"""What a search over a space amounts to: its holes, sizes and training steps."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from longhaul.spec.holes import Choice, NamedHole, dump_tree, fill
from longhaul.spec.search_settings import ASHASettings
from longhaul.spec.search_spec import SECTIONS, SearchSpec
from longhaul.spec.validation import first_answer
from longhaul_trainers.settings import dump

if TYPE_CHECKING:
    from longhaul_trainers.cells.base import CellSettings
    from longhaul_trainers.tasks.base import Task
    from longhaul_trainers.training.settings import TrialConfig


@dataclass(frozen=True)
class HoleSummary:
    """One hole for people.

    Attributes:
        name: dotted path and name of the Optuna parameter.
        kind: ``choice``, ``uniform``, ``loguniform``, ``int`` or ``logint``.
        range: options, or the two bounds.
        condition: names of choices and the labels without which the hole does not exist.
    """

    name: str
    kind: str
    range: list[Any]
    condition: dict[str, str]


@dataclass(frozen=True)
class CellSummary:
    """One branch of the cell.

    Attributes:
        cell: name of the cell.
        branch: the label under which a choice has it, None without a choice.
        smallest, largest: trainable parameters, readout included, over the branch's holes.
        smallest_hidden_size, largest_hidden_size: numbers of hidden units, over the same.
    """

    cell: str
    branch: str | None
    smallest: int
    largest: int
    smallest_hidden_size: int
    largest_hidden_size: int


@dataclass(frozen=True)
class TaskSummary:
    """The task, with the protocol it follows.

    Attributes:
        baseline: loss of the best predictor that remembers nothing.
        length: time steps of one sequence.
    """

    name: str
    protocol: str
    source: str
    length: int
    input_size: int
    output_size: int
    baseline: float


@dataclass(frozen=True)
class SpaceSummary:
    """A whole space.

    Attributes:
        sha256: see `SearchSpec.sha256`.
        enqueued: how many points are tried before the sampler decides.
        slots: trials of a pack, ``auto`` where the device decides.
        resolved: the space with every default written out, as plain mappings.
        objective: what is minimised, its settings and its ``title``.
        rungs: the step counts at which trials are compared; the last is a trial's whole length.
        most_steps: training steps if no trial is stopped.
        least_steps: if the first trial is the best, so that every other one stops at the first
            rung.
        expected_steps: if one trial in reduction_factor goes on from each rung.
    """

    name: str
    description: str
    source: str
    sha256: str
    task: TaskSummary
    cells: list[CellSummary]
    holes: list[HoleSummary]
    trials: int
    enqueued: int
    slots: int | str
    objective: dict[str, Any]
    rungs: list[int]
    most_steps: int
    least_steps: int
    expected_steps: int
    resolved: dict[str, Any]


def summarise(spec: SearchSpec) -> SpaceSummary:
    """Counts; nothing is trained."""
    from longhaul_trainers.catalogue import TASKS
    from longhaul_trainers.training.settings import TrialConfig

    first = TrialConfig.parse(fill(spec.tree, partial(first_answer, {})))
    task: Task = TASKS.get(first.task.name)(first.task)
    rungs, trials, scheduler = spec.rungs(), spec.search.trials, spec.search.scheduler
    factor = scheduler.reduction_factor if isinstance(scheduler, ASHASettings) else 1
    return SpaceSummary(
        name=spec.name,
        description=spec.description,
        source=spec.source,
        sha256=spec.sha256,
        task=_task(task, first),
        cells=list(_cells(spec, task)),
        holes=[_hole(found) for found in spec.holes()],
        trials=trials,
        enqueued=len(spec.enqueue),
        slots=_slots(spec),
        objective=dump(spec.search.objective) | {"title": spec.search.objective.title},
        rungs=rungs,
        most_steps=trials * rungs[-1],
        least_steps=trials * rungs[0] + rungs[-1] - rungs[0],
        expected_steps=expected_steps(rungs, trials, factor),
        resolved=resolved(spec),
    )


def _slots(spec: SearchSpec) -> int | str:
    slots = spec.resources.slots
    return 1 if slots == "auto" and spec.resources.gpus == 0 else slots


def resolved(spec: SearchSpec) -> dict[str, Any]:
    """The three parts of a configuration with their holes, as plain mappings."""
    return {key: dump_tree(spec.tree[key]) for key in SECTIONS}


def expected_steps(rungs: list[int], trials: int, factor: int) -> int:
    """Training steps if one trial in ``factor``, at least one, goes on from each rung."""
    total, going_on, before = 0, trials, 0
    for rung in rungs:
        total += going_on * (rung - before)
        going_on, before = max(1, going_on // factor), rung
    return total


def _task(task: "Task", first: "TrialConfig") -> TaskSummary:
    return TaskSummary(
        name=first.task.name,
        protocol=task.protocol.name,
        source=task.protocol.source,
        length=task.length,
        input_size=task.input_size,
        output_size=task.output_size,
        baseline=task.baseline,
    )


def _hole(found: NamedHole) -> HoleSummary:
    hole = found.hole
    span = list(hole.answers) if isinstance(hole, Choice) else [hole.low, hole.high]
    return HoleSummary(found.name, hole.kind, span, dict(found.condition))


def _cells(spec: SearchSpec, task: "Task") -> Iterator[CellSummary]:
    tree = spec.tree["cell"]
    if isinstance(tree, Choice) and tree.labels is not None:
        for label in tree.labels:
            yield _cell(spec, task, {"cell": label})
    else:
        yield _cell(spec, task, {})


def _cell(spec: SearchSpec, task: "Task", branch: Mapping[str, str]) -> CellSummary:
    from longhaul_trainers.training.model import SequenceModel

    inside = [
        found
        for found in spec.holes()
        if found.name.startswith("cell.") and dict(found.condition).items() >= branch.items()
    ]
    sizes, counts = [], []
    for chosen in (min, max):
        sizes.append(_extreme(spec, branch, inside, chosen, lambda cell: cell.hidden_size))
        counts.append(
            _extreme(spec, branch, inside, chosen, partial(SequenceModel.parameter_count, task))
        )
    name = fill(spec.tree, partial(first_answer, branch))["cell"]["name"]
    return CellSummary(name, branch.get("cell"), *counts, *sizes)


def _extreme(
    spec: SearchSpec,
    branch: Mapping[str, str],
    inside: list[NamedHole],
    chosen: Callable[..., dict[str, Any]],
    measured: "Callable[[CellSettings], int]",
) -> int:
    """The least or largest measure of a cell over its holes.

    One hole after the other keeps what went furthest so far: sizes grow with each setting by
    itself, and the product of all holes is too large to go through.
    """
    from longhaul_trainers.training.settings import TrialConfig

    def measure(answers: Mapping[str, Any]) -> int:
        filled = fill(spec.tree, partial(first_answer, answers))
        return measured(TrialConfig.parse(filled).cell)

    best = dict(branch)
    for found in inside:
        condition = dict(found.condition)
        tried = [best | condition | {found.name: one} for one in found.hole.representatives]
        best = chosen([best, *tried], key=measure)  # a hole of another branch may not go as far
    return measure(best)
