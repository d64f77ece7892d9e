"""``longhaul clean``: what searches keep and can do without."""

from typing import TYPE_CHECKING, Any

import click

from longhaul.cli.options import json_option, storage_option

if TYPE_CHECKING:
    from rich.console import RenderableType

    from longhaul.cleaning import Keep, Kept, Spare


@click.command("clean")
@click.argument("name", metavar="[NAME]", required=False)
@click.option(
    "--keep",
    type=click.Choice(["best", "latest", "none"]),
    default="best",
    show_default=True,
    help="Of trials that have ended: the best one's weights; all weights and newest checkpoints; "
    "or neither.",
)
@click.option("--older-than", metavar="AGE", help="Leave searches that changed later: 30d, 12h.")
@click.option("--whole", is_flag=True, help="Remove whole searches, with all that was recorded.")
@click.option("--yes", is_flag=True, help="Remove it; without, it is only told what would go.")
@storage_option
@json_option
def clean_command(
    name: str | None,
    keep: "Keep",
    older_than: str | None,
    whole: bool,
    yes: bool,
    storage: str,
    as_json: bool,
) -> None:
    """Tell what search NAME, or all searches, can do without; with --yes, remove it.

    What resume, reproduce and replay need stays, unless --whole is given. A search that runs is
    left alone. Without NAME, temporary files that dead drivers left on this machine go too.

    \b
    longhaul clean
    longhaul clean copying-quickstart --keep none --yes
    longhaul clean --whole --older-than 90d
    """
    from longhaul.cleaning import Kept, Spare, look_for_spare, parse_age, remove
    from longhaul.cli.output import emit
    from longhaul.errors import RequestError

    age = None if older_than is None else parse_age(older_than)
    if whole and name is None and age is None:
        raise RequestError("--whole would remove all searches; name one, or say --older-than 90d")
    found = list(look_for_spare(storage, name, keep=keep, older_than=age, whole=whole))
    spare = [one for one in found if isinstance(one, Spare)]
    kept = [one for one in found if isinstance(one, Kept)]
    if yes:
        remove(storage, spare)
    total = sum(one.bytes for one in spare)
    told: dict[str, Any] = {"removed": yes, "bytes": total, "spare": spare, "kept": kept}
    emit(told, as_json, lambda: _render(spare, kept, total, yes))


def _render(
    spare: "list[Spare]", kept: "list[Kept]", total: int, removed: bool
) -> "str | RenderableType":
    from longhaul.cli.tables import stacked, table

    left = [f"{one.search} is left: {one.reason}" for one in kept]
    if not spare:
        return "\n".join(["nothing can go", *left])
    rows = [[one.search or "-", one.what, len(one.paths), _size(one.bytes)] for one in spare]
    numbers = ["things", "size"]
    end = f"removed: {_size(total)}" if removed else f"{_size(total)} would go; --yes removes them"
    return stacked(table(["search", "what", *numbers], rows, numbers=numbers), "", *left, end)


def _size(count: int) -> str:
    if count < 1024:
        return f"{count} bytes"
    size, unit = count / 1024, "KiB"
    for unit in ("KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            break
        size /= 1024
    return f"{size:,.1f} {unit}"
