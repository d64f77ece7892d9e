"""What commands print: results on standard output, everything else on standard error."""

import dataclasses
import json
import math
import sys
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import Enum
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

PIPE_WIDTH = 160
"""Columns where standard output is no terminal: tables must not be folded for a reader program."""


def emit(
    data: Mapping[str, object], as_json: bool, render: Callable[[], "str | RenderableType"]
) -> None:
    """Prints a command's result on standard output.

    Args:
        data: what ``--json`` prints, as one object (see `to_json`).
        as_json: whether ``--json`` was given.
        render: makes what people read, a text or something rich can print; called only if needed.
    """
    if as_json:
        click.echo(to_json(data))
        return
    rendered = render()
    if isinstance(rendered, str):
        click.echo(rendered)
        return
    console = result_console()
    with console.capture() as printed:
        console.print(rendered)
    # rich fills lines up to the width: noise wherever they are stored or compared.
    lines = (line.rstrip(" ") for line in printed.get().splitlines())
    click.echo("\n".join(lines))


def to_json(data: Mapping[str, object]) -> str:
    """One JSON object as text.

    Times become ISO 8601 text, paths and enumerations text, data classes objects; numbers that
    JSON does not have (NaN, infinities) become null.

    Raises:
        TypeError: a value of another kind.
    """
    return json.dumps(_plain(data), indent=2, ensure_ascii=False, allow_nan=False)


def result_console() -> "Console":
    """Where tables for people go: standard output."""
    from rich.console import Console  # imported here: 0.1 s

    width = None if sys.stdout.isatty() else PIPE_WIDTH
    return Console(file=sys.stdout, width=width, highlight=False)


def progress_console() -> "Console":
    """Where progress and live views go: standard error."""
    from rich.console import Console  # imported here: 0.1 s

    return Console(file=sys.stderr, highlight=False)


def say(message: str) -> None:
    """One plain line for people, on standard error."""
    click.echo(message, err=True)


def warn(message: str) -> None:
    """As `say`, for what the user should look at."""
    say(f"warning: {message}")


def _plain(value: object) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Enum):
        return _plain(value.value)
    if isinstance(value, str | int):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, set | frozenset):
        return [_plain(one) for one in sorted(value)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain({one.name: getattr(value, one.name) for one in dataclasses.fields(value)})
    item = getattr(value, "item", None)  # a number of numpy or torch, neither imported for it
    if callable(item):
        return _plain(item())
    raise TypeError(f"no JSON for {type(value).__name__} {value!r}")
