"""``longhaul check``: whether a space or suite can be run, and what running it amounts to."""

from typing import TYPE_CHECKING

import click

from longhaul.cli.options import json_option, set_option, space_argument, storage_option

if TYPE_CHECKING:
    from rich.console import RenderableType

    from longhaul.spec.summary import SpaceSummary


@click.command()
@space_argument
@click.option("--name", metavar="NAME", help="Name of the search.  [default: the space's]")
@set_option
@storage_option
@json_option
def check(
    space: str, name: str | None, changes: tuple[str, ...], storage: str, as_json: bool
) -> None:
    """Check a search space and show what a search over it amounts to.

    SPACE is a file or the name of a shipped space or suite. Nothing is written or trained; how
    long it will take is told where a search of the same shape is in the storage.

    \b
    longhaul check copying-quickstart
    longhaul check my-space.yaml --set training.steps=100
    longhaul check suites/copying-small
    """
    # imported here: torch takes seconds
    from dataclasses import asdict

    from longhaul.cli.output import emit
    from longhaul.spec.search_spec import SearchSpec
    from longhaul.spec.suite import Suite, is_suite
    from longhaul.spec.summary import summarise

    if is_suite(space):
        from longhaul.cli.suites import check_text, checked

        told = checked(Suite.load(space, changes, name))
        emit(told, as_json, lambda: check_text(told))
        return
    from longhaul.search.forecast import local_forecast

    spec = SearchSpec.load(space, changes, name)
    summary, expected = summarise(spec), local_forecast(spec, storage, None)
    told = asdict(summary) | {"forecast": asdict(expected)}
    emit(told, as_json, lambda: _render(summary, expected.lines()[1:]))


def _render(summary: "SpaceSummary", forecast: list[str]) -> "RenderableType":
    from longhaul.cli.tables import heading, stacked, table
    from longhaul.spec.holes import plain_text
    from longhaul.spec.writing import to_yaml

    task = summary.task
    holes = [
        (
            hole.name,
            hole.kind,
            ", ".join(plain_text(one) for one in hole.range),
            ", ".join(f"{name} = {label}" for name, label in hole.condition.items()),
        )
        for hole in summary.holes
    ]
    cells = [
        (
            cell.cell
            if cell.branch in (None, cell.cell)
            else f"{cell.cell} (branch {cell.branch})",
            _range(cell.smallest_hidden_size, cell.largest_hidden_size),
            _range(cell.smallest, cell.largest),
        )
        for cell in summary.cells
    ]
    return stacked(
        heading(f"{summary.name}: {summary.description}" if summary.description else summary.name),
        f"file    {summary.source}\n"
        f"task    {task.name}, protocol {task.protocol}: {task.length} steps a sequence, "
        f"{task.input_size} inputs, {task.output_size} outputs\n"
        f"budget  {summary.trials} trials of {summary.rungs[-1]:,} training steps, "
        f"compared at {', '.join(f'{rung:,}' for rung in summary.rungs)}\n"
        f"        at most {summary.most_steps:,} steps in all, at least {summary.least_steps:,}, "
        f"about {summary.expected_steps:,} to be expected\n"
        f"{_forecast(forecast)}"
        f"{_packs(summary.slots)}"
        f"{_first(summary.enqueued, summary.trials)}"
        f"{_objective(summary)}"
        f"beat    a loss of {task.baseline:.4g}, which needs no memory\n",
        table(["hole", "kind", "range", "only if"], holes)
        if holes
        else "no holes: all trials differ in their seed alone",
        "",
        table(["cell", "hidden size", "parameters"], cells, numbers=["hidden size", "parameters"]),
        "",
        heading("in full"),
        to_yaml(summary.resolved).rstrip(),
    )


def _forecast(lines: list[str]) -> str:
    return "".join(f"        {line}\n" for line in lines)


def _objective(summary: "SpaceSummary") -> str:
    found = summary.objective
    if found["name"] == "loss":
        return ""
    worse = " (maximised)" if found.get("better") == "higher" else ""
    return f"aim     {found['title']}{worse}\n"


def _packs(slots: int | str) -> str:
    if slots == 1:
        return ""
    many = "as many trials as pay on the device" if slots == "auto" else f"up to {slots} trials"
    return f"packs   {many} train as one batch, where they differ in no shape\n"


def _first(enqueued: int, trials: int) -> str:
    if enqueued == 0:
        return ""
    points = "1 enqueued point is" if enqueued == 1 else f"{enqueued:,} enqueued points are"
    reached = f", as far as {trials:,} trials reach" if enqueued > trials else ""
    return f"first   {points} tried, before the sampler decides{reached}\n"


def _range(smallest: int, largest: int) -> str:
    return f"{smallest:,}" if smallest == largest else f"{smallest:,} to {largest:,}"
