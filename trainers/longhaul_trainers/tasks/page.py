"""The page about all tasks: ``python -m longhaul_trainers.tasks.page docs/tasks.md`` writes it."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from longhaul_trainers.catalogue import TASKS
from longhaul_trainers.cells.description import documentation, settings_table
from longhaul_trainers.errors import DataError
from longhaul_trainers.settings import describe, parse
from longhaul_trainers.tasks.base import Protocol, Score, Task

HEAD = """# Tasks

Written by `make docs` from the classes; `longhaul tasks NAME` shows the same, with an example. A
task's settings are keys under `task`; `protocol` is how a paper ran it, and gives batch size and
training steps where a space leaves them open. The baseline is the loss of the best predictor that
remembers nothing, with the other settings at their defaults; a dash stands for what only the data
can tell. Data from files: [own-data.md](own-data.md); comparisons: [suites.md](suites.md)."""


def tasks_page() -> str:
    """All tasks that come with Longhaul, in markdown."""
    names = [name for name in TASKS.names() if not TASKS.package(name)]
    parts = [HEAD, _index(names)]
    for name in names:
        parts += _section(name, TASKS.get(name))
    return "\n\n".join(parts) + "\n"


def _index(names: list[str]) -> str:
    rows = [
        f"| [{name}](#{name}) | {documentation(TASKS.get(name))[0].rstrip('.')} | "
        f"{', '.join(TASKS.get(name).protocols)} |"
        for name in names
    ]
    return "\n".join(["| task | what it asks | protocols |", "|---|---|---|", *rows])


def _section(name: str, task: type[Task]) -> Iterator[str]:
    summary, notes = documentation(task)
    yield f"## {name}"
    yield summary
    if notes:
        yield notes.replace("::\n", ":\n")
    yield settings_table(describe(task.settings_type))
    head = ["| protocol | batch | steps | length | baseline | trivial scores |",
            "|---|---:|---:|---:|---:|---|"]  # fmt: skip
    yield "\n".join([*head, *(_row(task, one) for one in task.protocols.values())])
    for protocol in task.protocols.values():
        yield from _protocol(protocol)


def _row(task: type[Task], protocol: Protocol) -> str:
    made = task(parse(task.settings_type, {"protocol": protocol.name}))
    length = baseline = scores = None
    if task.same_everywhere:
        length = _known(lambda: made.length)
        baseline = _known(lambda: made.baseline)
        scores = _known(lambda: made.baseline_metrics)
    values = [
        protocol.name,
        f"{protocol.batch_size}",
        f"{protocol.steps:,}",
        "-" if length is None else f"{length:,}",
        "-" if baseline is None else f"{baseline:.4g}",
        ", ".join(f"{key} {value:.4g}" for key, value in (scores or {}).items()),
    ]
    return f"| {' | '.join(values)} |".replace("|  |", "| |")


def _protocol(protocol: Protocol) -> Iterator[str]:
    yield f"**{protocol.name}**: {protocol.summary}"
    if protocol.defects:
        yield f"Differs: {protocol.defects}"
    if protocol.published:
        best = ", the best on the test set over the epochs" if protocol.selects_on_test else ""
        head = [f"| published{best} | score | with | note |", "|---|---|---|---|"]
        yield "\n".join([*head, *map(_score, protocol.published)])
    yield f"Source: {protocol.source}."


def _score(score: Score) -> str:
    setting = f"`{score.setting}`" if score.setting else ""
    row = f"| {score.model} | {score.metric} {score.value:g} | {setting} | {score.note} |"
    return row.replace("|  |", "| |").replace("|  |", "| |")


def _known(read: Callable[[], Any]) -> Any:
    """What can be told without data; None where only files can tell."""
    try:
        return read()
    except DataError:
        return None


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(tasks_page(), encoding="utf-8")
