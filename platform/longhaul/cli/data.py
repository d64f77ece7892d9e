"""``longhaul data``: the data sets that tasks read from files, and what is there of them."""

from typing import TYPE_CHECKING, Any

import click

from longhaul.cli.options import json_option

if TYPE_CHECKING:
    from rich.console import RenderableType

    from longhaul_trainers.data.data_set import DataSet
    from longhaul_trainers.data.store import Status

CONVERT = "convert"


@click.command()
@click.argument("words", nargs=-1, metavar=f"[NAME | {CONVERT} NAME]")
@click.option(
    "--verify", is_flag=True, help="Read files and converted ones through and compare their hashes."
)
@json_option
def data(words: tuple[str, ...], verify: bool, as_json: bool) -> None:
    """List the data sets that tasks read, show one, or convert one before its first use.

    Files are looked for in the folder that LONGHAUL_DATA names. They are converted once, into its
    folder .longhaul or, where that cannot be written, into the user's cache.

    \b
    longhaul data
    longhaul data mnist --verify
    longhaul data convert mnist
    """
    # imported here: numpy takes a tenth of a second
    from longhaul.cli.output import emit
    from longhaul.errors import RequestError
    from longhaul_trainers.data.folders import data_folder
    from longhaul_trainers.data.known import DATA_SETS
    from longhaul_trainers.data.store import convert_data, status

    converting = words[:1] == (CONVERT,)
    names = words[1:] if converting else words
    if len(names) > 1 or (converting and not names):
        raise RequestError(f"expected nothing, NAME, or {CONVERT} NAME; found {' '.join(words)!r}")
    sets = [_known(name) for name in names or DATA_SETS.names()]
    if converting:
        convert_data(sets[0])
    found = [_shown(one, status(one, verify=verify)) for one in sets]
    if names:
        emit(found[0], as_json, lambda: _render(found[0]))
    else:
        listed = {"folder": data_folder(), "data": found}
        emit(listed, as_json, lambda: _render_list(data_folder(), found, verify))
    if any(one["damaged"] for one in found):
        raise click.exceptions.Exit(1)


def _known(name: str) -> "DataSet":
    from longhaul.errors import RequestError
    from longhaul_trainers.data.known import DATA_SETS
    from longhaul_trainers.errors import UnknownNameError

    try:
        found: DataSet = DATA_SETS.get(name)
    except UnknownNameError as error:
        raise RequestError(error.problem) from None
    return found


def _shown(known: "DataSet", found: "Status") -> dict[str, Any]:
    return {
        "name": known.name,
        "summary": known.summary,
        "state": found.state,
        "files": list(found.files),
        "converted": found.converted,
        "content_sha256": found.content_sha256,
        "official": found.official,
        "damaged": found.damaged,
        "problem": found.problem,
        "expected": [{"files": form.names(), "what": form.what} for form in known.forms],
        "source": known.source,
        "licence": known.licence,
        "stand_in": known.stand_in,
    }


def _render_list(folder: Any, found: list[dict[str, Any]], verified: bool) -> "RenderableType":
    from longhaul.cli.tables import stacked, table

    rows = [[one["name"], one["state"], _content(one), one["summary"]] for one in found]
    where = f"LONGHAUL_DATA={folder}" if folder else "LONGHAUL_DATA is not set: no files are read"
    troubles = [f"{one['name']}: {one['problem']}" for one in found if one["damaged"]]
    parts: list[RenderableType] = [
        where,
        "",
        table(["data set", "state", "content", "what it is"], rows),
        "",
        *troubles,
        "longhaul data NAME says which files, from where, under which licence",
    ]
    if not verified:
        parts.append("longhaul data --verify reads all files through")
    return stacked(*parts)


def _content(one: dict[str, Any]) -> str:
    """Whether the content is what the literature used, in a word or two."""
    if one["damaged"]:
        return "damaged"
    return {True: "official", False: "another", None: ""}[one["official"]]


def _render(one: dict[str, Any]) -> "RenderableType":
    from longhaul.cli.tables import heading, stacked, table

    rows = [("state", one["state"]), *(("file", file) for file in one["files"])]
    if one["converted"]:
        rows.append(("converted", one["converted"]))
    if one["content_sha256"]:
        content = f"sha256 {one['content_sha256']}"
        rows.append(("content", f"{content} ({_content(one)})" if _content(one) else content))
    rows += [("expected", f"{', '.join(f['files'])} ({f['what']})") for f in one["expected"]]
    rows += [("from", one["source"]), ("licence", one["licence"])]
    if one["stand_in"]:
        rows.append(("offline", one["stand_in"]))
    problem = one["problem"] if one["state"] != "missing" else ""
    return stacked(heading(f"{one['name']}: {one['summary']}"), table(["", ""], rows), problem)
