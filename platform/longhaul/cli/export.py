"""``longhaul export``: trials and curves as tables for other programs."""

from pathlib import Path

import click

from longhaul.cli.options import json_option, name_argument, storage_option


@click.command("export")
@name_argument
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--curves",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE2",
    help="Where the curves go.  [default: FILE with -curves before its ending]",
)
@storage_option
@json_option
def export_command(name: str, file: Path, curves: Path | None, storage: str, as_json: bool) -> None:
    """Write the trials of search NAME to FILE, and their curves beside it, as Parquet.

    One tidy row a trial (state, value, parameters under dotted names, times in UTC), and one row a
    trial and step with a column for each metric.

    \b
    longhaul export copying-quickstart trials.parquet
    """
    from longhaul.cli.output import emit
    from longhaul.errors import RequestError
    from longhaul.export import write_curves, write_trials
    from longhaul.ledger import Ledger

    ledger = Ledger.open(storage, name)
    curves = curves or file.with_name(f"{file.stem}-curves{file.suffix}")
    if curves == file:
        raise RequestError(f"{file}: trials and curves cannot go to the same file")
    record = ledger.record()
    trials, points = write_trials(ledger, record, file), write_curves(ledger, record, curves)
    done = {"search": name, "trials": trials, "points": points, "files": [file, curves]}
    text = f"{trials} trials in {file}\n{points:,} points of their curves in {curves}"
    emit(done, as_json, lambda: text)
