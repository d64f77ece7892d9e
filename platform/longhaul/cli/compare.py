"""``longhaul compare``: the table of a suite."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from longhaul.cli.options import json_option, storage_option
from longhaul.cli.output import emit, progress_console

if TYPE_CHECKING:
    from rich.console import RenderableType

    from longhaul.comparison.record import SuiteRecord
    from longhaul.comparison.table import Comparison, Progress
    from longhaul.ledger.storage import Storage


@click.command("compare")
@click.argument("suite", metavar="SUITE")
@click.option(
    "--seeds",
    type=click.IntRange(min=2),
    metavar="N",
    help="Fresh seeds of each best configuration.  [default: the suite's]",
)
@click.option(
    "--as-is", is_flag=True, help="Train nothing: show what is there, of seeds and of searches."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Where to write the table, .md or .html.  [default: both, in the suite's folder]",
)
@storage_option
@json_option
def compare_command(
    suite: str, seeds: int | None, as_is: bool, output: Path | None, storage: str, as_json: bool
) -> None:
    """Compare the searches of SUITE: scores on the test set over fresh seeds of each best trial.

    SUITE was run by `longhaul search SUITE`. Seeds that are not there yet are trained, and kept.

    \b
    longhaul compare copying-small
    longhaul compare copying-small --seeds 10 -o table.md
    """
    from longhaul.comparison.files import write_comparison
    from longhaul.comparison.table import compare
    from longhaul.ledger import open_storage

    root = open_storage(storage)
    record = _record(root, suite)
    with _progress() as progress:
        wanted = seeds or record.seeds
        found = compare(root, record, wanted, None if as_is else progress)
    written = write_comparison(root, found, output)
    emit(found.as_dict() | {"files": written}, as_json, lambda: _text(found, written))


def _record(root: "Storage", given: str) -> "SuiteRecord":
    from longhaul.comparison.record import is_recorded, read_suite
    from longhaul.spec.suite import Suite, is_suite

    name = given
    if not is_recorded(root, given) and is_suite(given):
        name = Suite.load(given).name
    return read_suite(root, name)


@contextmanager
def _progress() -> "Iterator[Progress]":
    """A bar on standard error for the search whose seeds train, gone when all is done."""
    # imported here: 0.1 s
    from rich.progress import Progress, TaskID

    with Progress(console=progress_console(), transient=True) as progress:
        bars: dict[str, TaskID] = {}

        def told(label: str, done: int, total: int) -> None:
            if label not in bars:
                bars[label] = progress.add_task(f"fresh seeds of {label}", total=total)
            progress.update(bars[label], completed=done, visible=done < total)

        yield told


def _text(found: "Comparison", written: list[Path]) -> "RenderableType":
    from longhaul.cli.tables import heading, stacked, table
    from longhaul.comparison import words

    parts: list[RenderableType] = [
        heading(f"{found.name}: {found.description}" if found.description else found.name),
        *words.rules(found),
    ]
    for one in found.tables:
        headings = words.columns(one)
        rows = [words.cells(one, row) for row in one.rows]
        numbers = [each for each in headings if words.is_number(each)]
        parts += ["", heading(words.heading(one))]
        if one.task:
            parts.append(f"without memory: {words.baseline(one)}")
        parts += [table(headings, rows, numbers=numbers), *words.notes(one)]
    return stacked(*parts, "", "\n".join(f"written: {path}" for path in written))
