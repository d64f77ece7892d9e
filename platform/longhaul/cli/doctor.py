"""``longhaul doctor``: whether everything that a search needs is there and works."""

from typing import TYPE_CHECKING

import click

from longhaul.cli.options import address_option, json_option, storage_option, tracking_option

if TYPE_CHECKING:
    from rich.console import RenderableType

    from longhaul.doctor import Finding


@click.command("doctor")
@storage_option
@tracking_option
@address_option
@json_option
def doctor_command(storage: str, tracking_uri: str, address: str | None, as_json: bool) -> None:
    """Try what a search needs: packages, storage, MLflow, compiler, GPU, data, a cluster.

    The storage is really written to and cleared again, MLflow is really asked, and with --address
    every node of the cluster too. Leaves with 1 where something would keep a search from running.

    \b
    longhaul doctor
    longhaul doctor --storage /shared/runs --tracking-uri http://mlflow:5000 --address auto
    """
    from longhaul.cli.output import emit
    from longhaul.doctor import Level
    from longhaul.doctor.examine import examine

    found = list(examine(storage, tracking_uri, address))
    well = all(one.level is not Level.PROBLEM for one in found)
    emit({"ok": well, "findings": found}, as_json, lambda: _render(found))
    if not well:
        raise click.exceptions.Exit(1)


def _render(found: "list[Finding]") -> "RenderableType":
    from rich.console import Group
    from rich.text import Text

    from longhaul.doctor import Level

    styles = {Level.OK: "green", Level.WARNING: "yellow", Level.PROBLEM: "bold red"}
    lines = []
    for one in found:
        level = Text(f"{one.level:<8}", style=styles[one.level])
        lines.append(Text.assemble(level, f" {one.part:<9} {one.message}"))
        if one.fix:
            lines.append(Text(f"{'':<19}fix: {one.fix}"))
    return Group(*lines)
