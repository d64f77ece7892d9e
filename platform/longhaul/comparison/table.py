"""A comparison as plain data: one table for each task, one row for each search."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from longhaul import summary
from longhaul.comparison.seeds import SeedRun, kept_runs, train_missing
from longhaul.spec.objectives import LOSS

if TYPE_CHECKING:
    from longhaul.comparison.record import Entry, SuiteRecord
    from longhaul.ledger import Ledger
    from longhaul.ledger.storage import Storage
    from longhaul.spec.search_spec import SearchSpec
    from longhaul_trainers.tasks.base import Task

PREFERRED = ("accuracy", "bits_per_character", "perplexity", "loss")
"""What a score is where no published one stands beside it and the searches looked for the loss, the
first that the task measures."""

Progress = Callable[[str, int, int], None]
"""Hears the label of the search whose seeds train, the steps done and the steps in all."""


@dataclass(frozen=True)
class Published:
    """A published score beside a row.

    Attributes:
        model, value, metric, note: as the protocol has them.
        elsewhere: the setting under which it was reached, where that is another one than here.
    """

    model: str
    value: float
    metric: str
    note: str
    elsewhere: str


@dataclass(frozen=True)
class Row:
    """One search of a suite.

    Attributes:
        label: what the suite calls it.
        search: its name.
        cell: of its best trial; None before there is one.
        state: the search's, ``not begun`` where it was not.
        trials, completed: how many there are, and how many of them ran all their steps.
        steps: training steps of one trial that is not stopped.
        steps_trained: training steps of all trials, the fresh seeds left out.
        hidden_size, parameters: of the best configuration.
        trial: number of the best trial, chosen by validation.
        selected_by: what the search looked for, by which that trial is the best.
        selected: what that trial reached of it, as text.
        valid_loss: validation loss of its weights that were kept, the lowest if that selects.
        seeds, diverged: fresh seeds that were trained, and how many of them diverged.
        scores: by metric on the test set, over the fresh seeds that did not diverge: ``mean``,
            ``deviation`` and the 95 % interval of the mean, ``low`` and ``high``.
        values: by metric, one value a seed; None where it diverged.
        published: what a paper reports.
        reproduce: the command that trains the best trial again.
    """

    label: str
    search: str
    cell: str | None
    state: str
    trials: int
    completed: int
    steps: int | None
    steps_trained: int
    hidden_size: int | None
    parameters: int | None
    trial: int | None
    selected_by: str
    selected: str | None
    valid_loss: float | None
    seeds: int
    diverged: int
    scores: Mapping[str, Mapping[str, float]]
    values: Mapping[str, Sequence[float | None]]
    published: Published | None
    reproduce: str | None


@dataclass(frozen=True)
class TaskTable:
    """The searches on one task.

    Attributes:
        task: its settings.
        protocol, source: what it follows, and whose that is.
        defects: how it differs from what was published.
        selects_on_test: whether the published scores were selected on the test set.
        baseline: loss of the best predictor that remembers nothing.
        baseline_metrics: further scores of a trivial predictor, by metric.
        metric: the one that the table is about.
        rows: in the order of the suite.
    """

    task: Mapping[str, Any]
    protocol: str
    source: str
    defects: str
    selects_on_test: bool
    baseline: float | None
    baseline_metrics: Mapping[str, float]
    metric: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Comparison:
    """A whole suite compared.

    Attributes:
        name, description, source: the suite's.
        budget: the rule, as the suite has it.
        seeds: how many fresh seeds there were to be.
        tables: one a task, in the order of the suite.
    """

    name: str
    description: str
    source: str
    budget: Mapping[str, Any]
    seeds: int
    tables: tuple[TaskTable, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def compare(
    root: "Storage", suite: "SuiteRecord", seeds: int, progress: Progress | None
) -> Comparison:
    """Makes the table of a suite from the ledgers of its searches.

    Args:
        root: the storage that holds them.
        suite: which searches.
        seeds: fresh seeds of each best configuration.
        progress: those that are missing are trained, and this hears of it; None: nothing is
            trained, and the table has what is there.
    """
    from longhaul.spec.suite_fairness import task_key

    found: dict[str, list[_Begun]] = {}
    missing = []
    for entry in suite.searches:
        begun = _begun(root, entry)
        if begun is None:
            missing.append(_not_begun(entry))
        else:
            found.setdefault(task_key(begun.spec.tree["task"]), []).append(begun)
    tables = [_table(group, seeds, progress) for group in found.values()]
    if missing:
        tables.append(TaskTable({}, "", "", "", False, None, {}, "loss", tuple(missing)))
    return Comparison(
        suite.name, suite.description, suite.source, suite.budget, seeds, tuple(tables)
    )


@dataclass(frozen=True)
class _Begun:
    """A search that has a ledger."""

    entry: "Entry"
    spec: "SearchSpec"
    ledger: "Ledger"


def _begun(root: "Storage", entry: "Entry") -> _Begun | None:
    from longhaul.ledger import Ledger, UnknownSearchError
    from longhaul.spec.search_spec import SearchSpec

    try:
        ledger = Ledger.open(root, entry.search)
    except UnknownSearchError:
        return None
    source = f"{entry.search}/spec.yaml"
    return _Begun(
        entry, SearchSpec.from_text(ledger.spec_text(), source, name=entry.search), ledger
    )


def _not_begun(entry: "Entry") -> Row:
    return Row(
        label=entry.label,
        search=entry.search,
        cell=None,
        state="not begun",
        trials=0,
        completed=0,
        steps=None,
        steps_trained=0,
        hidden_size=None,
        parameters=None,
        trial=None,
        selected_by=LOSS.title,
        selected=None,
        valid_loss=None,
        seeds=0,
        diverged=0,
        scores={},
        values={},
        published=None,
        reproduce=None,
    )


def _table(group: Sequence[_Begun], seeds: int, progress: Progress | None) -> TaskTable:
    from longhaul_trainers.catalogue import TASKS
    from longhaul_trainers.settings import parse_component

    given = group[0].spec.tree["task"]
    settings = parse_component(TASKS, given, "task")
    task: Task = TASKS.get(settings.name)(settings)
    rows = [_row(one, seeds, progress) for one in group]
    protocol = task.protocol
    return TaskTable(
        task=given,
        protocol=protocol.name,
        source=protocol.source,
        defects=protocol.defects,
        selects_on_test=protocol.selects_on_test,
        baseline=_known(lambda: task.baseline),
        baseline_metrics=_known(lambda: task.baseline_metrics) or {},
        metric=_metric(rows, [one.spec.search.objective.selects for one in group]),
        rows=tuple(rows),
    )


def _row(begun: _Begun, seeds: int, progress: Progress | None) -> Row:
    entry, spec, ledger = begun.entry, begun.spec, begun.ledger
    record = ledger.record()
    best = record.best()
    runs: list[SeedRun] = []
    if best is not None:
        runs = kept_runs(ledger, best.number)[:seeds]
        if progress is not None and record.state == "completed":
            runs = train_missing(
                ledger, best.number, seeds, lambda done, all_: progress(entry.label, done, all_)
            )
    result = (ledger.trial(best.number).result() or {}) if best else {}
    return Row(
        label=entry.label,
        search=entry.search,
        cell=summary.cell_of(best) if best else None,
        state=str(record.state),
        trials=len(record.trials),
        completed=len(summary.ranked(record)),
        steps=spec.max_steps,
        steps_trained=record.steps_trained,
        hidden_size=summary.hidden_size_of(best) if best else None,
        parameters=summary.parameters_of(best, result) if best else None,
        trial=best.number if best else None,
        selected_by=spec.search.objective.title,
        selected=spec.search.objective.text(best.value) if best else None,
        valid_loss=result.get("valid/loss") if best else None,
        seeds=len(runs),
        diverged=sum(run.values is None for run in runs),
        **_scores(runs),
        published=_published(entry, spec),
        reproduce=summary.reproduce_command(ledger, best.number) if best else None,
    )


def _scores(runs: Sequence[SeedRun]) -> dict[str, Any]:
    from longhaul.reproduce import interval

    names = dict.fromkeys(name for run in runs for name in run.values or ())
    tested = [name for name in names if name.startswith("test/")]
    values = {
        name.removeprefix("test/"): [
            None if run.values is None else run.values[name] for run in runs
        ]
        for name in tested
    }
    scores = {
        name: interval([one for one in row if one is not None]) for name, row in values.items()
    }
    return {"scores": scores, "values": values}


def _published(entry: "Entry", spec: "SearchSpec") -> Published | None:
    from longhaul.spec.suite_fairness import published_score

    found = published_score(spec.tree["task"], entry.published) if entry.published else None
    if found is None:
        return None
    score, holds = found
    elsewhere = "" if holds else score.setting
    return Published(score.model, score.value, score.metric, score.note, elsewhere)


def _metric(rows: Sequence[Row], selecting: Sequence[str]) -> str:
    """What the table is about: what was published, else what the searches looked for."""
    measured = {name for row in rows for name in row.scores}
    beside = [row.published.metric for row in rows if row.published is not None]
    sought = [name for name in selecting if name != "loss"]
    wanted = [*dict.fromkeys(beside), *dict.fromkeys(sought), *PREFERRED]
    return next((one for one in wanted if one in measured), wanted[0] if beside else "loss")


def _known(read: Callable[[], Any]) -> Any:
    """What only the task's data may tell; None where that is not there."""
    from longhaul_trainers.errors import DataError

    try:
        return read()
    except DataError:
        return None
