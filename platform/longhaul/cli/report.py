"""``longhaul report``: a search as one HTML file."""

from pathlib import Path

import click

from longhaul.cli.options import json_option, name_argument, storage_option


@click.command("report")
@name_argument
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Where to write it.  [default: report.html in the search's folder]",
)
@storage_option
@json_option
def report_command(name: str, output: Path | None, storage: str, as_json: bool) -> None:
    """Write the report of search NAME: one HTML file that needs nothing else.

    \b
    longhaul report copying-quickstart
    """
    from longhaul.cli.output import emit
    from longhaul.ledger import Ledger
    from longhaul.report import render, write_report

    ledger = Ledger.open(storage, name)
    path = write_report(ledger, render(ledger, ledger.record()), output)
    emit({"search": name, "report": path}, as_json, lambda: str(path))
