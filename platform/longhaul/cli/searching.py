"""What ``search`` and ``resume`` share: beginning, running, showing, and what to type next."""

import sys
from typing import TYPE_CHECKING, Any

import click

from longhaul.cli.output import emit, progress_console, say

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import RenderableType

    from longhaul.ledger import Ledger
    from longhaul.search.driver import Place
    from longhaul.search.outcome import Outcome
    from longhaul.search.run import SearchRun
    from longhaul.search.view import LogView, PlainView, TerminalView
    from longhaul.spec.search_spec import SearchSpec

INTERRUPTED_STATUS = 130


def run_and_report(
    ledger: "Ledger",
    place: "Place",
    overrides: dict[str, Any],
    as_json: bool,
    wanted: "SearchSpec | None" = None,
    log_format: str = "text",
) -> None:
    """Runs a search and prints how it ended.

    Exits with 1 where the search could not go on, or had no trial that ran to its end, and with
    130 where it was interrupted.
    """
    result = run_shown(ledger, place, overrides, wanted, log_format)
    next_commands = _next(result, place)
    emit(result.as_dict() | {"next": next_commands}, as_json, lambda: _text(result, next_commands))
    if result.state != "completed":
        raise click.exceptions.Exit(INTERRUPTED_STATUS if result.state == "interrupted" else 1)


def run_shown(
    ledger: "Ledger",
    place: "Place",
    overrides: dict[str, Any],
    wanted: "SearchSpec | None" = None,
    log_format: str = "text",
) -> "Outcome":
    """Runs a search, shows its progress on standard error, and tells how it ended."""
    from longhaul.search.driver import run_search
    from longhaul.search.log import search_log

    view = _view(log_format)
    try:
        with search_log(ledger, stderr_as_json=log_format == "json"):
            run = run_search(ledger, place, view, overrides, wanted)
    finally:
        view.close()
    return _outcome(run)


def _view(log_format: str) -> "LogView | PlainView | TerminalView":
    from longhaul.search.view import LogView, PlainView, TerminalView

    if log_format == "json":
        return LogView()
    # Written to a pipe or a file, a redrawn line would be noise.
    return TerminalView(progress_console()) if sys.stderr.isatty() else PlainView(say)


def _outcome(run: "SearchRun") -> "Outcome":
    from longhaul.ledger import SearchState
    from longhaul.search.outcome import outcome
    from longhaul.search.run import INTERRUPTED
    from longhaul_trainers.catalogue import TASKS
    from longhaul_trainers.settings import parse_component

    task = parse_component(TASKS, run.spec.tree["task"])
    baseline = TASKS.get(task.name)(task).baseline
    _, budget = run.ending
    state, reason = SearchState.COMPLETED, None if budget is None else budget.reason
    if run.stop_reason is not None:
        reason = run.stop_reason
        state = SearchState.INTERRUPTED if reason == INTERRUPTED else SearchState.FAILED
    elif run.record.best() is None:
        state, reason = SearchState.FAILED, "no trial ran all its steps with a finite loss"
    return outcome(run.record, baseline, state, reason)


def place_options(place: "Place") -> tuple[str, str]:
    """The options for a place's storage and tracking, empty where they are the defaults."""
    from longhaul.cli.options import DEFAULT_STORAGE, default_tracking_uri
    from longhaul.errors import RequestError
    from longhaul.redaction import redact

    storage = "" if place.storage == DEFAULT_STORAGE else f" --storage {place.storage}"
    try:
        default = default_tracking_uri(place.storage)
    except RequestError:  # nothing lies beside a bucket
        default = ""
    if place.tracking_uri == default:
        return storage, ""
    # An address may hold a password, and what is printed here ends in logs.
    return storage, f" --tracking-uri {redact(place.tracking_uri)}"


def _next(result: "Outcome", place: "Place") -> dict[str, str]:
    """The commands that come next, with the options that are not the defaults."""
    storage, tracking = place_options(place)
    commands = {"watch": f"longhaul ui{storage}{tracking}"}
    if result.best is not None:
        commands["reproduce"] = f"longhaul reproduce {result.name}{storage}{tracking}"
    if result.state == "completed":
        more = 2 * sum(result.counts.values())
        commands["extend"] = f"longhaul resume {result.name} --trials {more}{storage}{tracking}"
    else:
        commands["resume"] = f"longhaul resume {result.name}{storage}{tracking}"
    return commands


def _text(result: "Outcome", next_commands: dict[str, str]) -> "RenderableType":
    # imported here: 0.1 s
    from rich.console import Group
    from rich.text import Text

    from longhaul.search.outcome import cell_table, summary_lines

    title = f"search {result.name}: {result.state}"
    lines = [title + (f" ({result.reason})" if result.reason else ""), *summary_lines(result)]
    parts: list[RenderableType] = [Text("\n".join(lines)), Text(""), cell_table(result)]
    if result.params is not None:
        shown = {name: _short(value) for name, value in result.params.items()}
        parts.append(Text(f"\nbest configuration (trial {result.best}):\n{columns(shown)}"))
    return Group(*parts, Text(f"\nnext:\n{columns(next_commands)}"))


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def columns(rows: "Mapping[str, str]") -> str:
    """Names and texts, one a line, the texts below each other."""
    width = max(len(name) for name in rows)
    return "\n".join(f"  {name:<{width}}  {value}" for name, value in rows.items())


def open_or_create(spec: "SearchSpec", storage: str, address: str | None) -> "Ledger":
    """The search's ledger, created where there is none yet.

    Raises:
        RequestError: another search has the name, or a trial fits nowhere.
    """
    from longhaul.errors import RequestError
    from longhaul.ledger import Ledger
    from longhaul.search.driver import search_environment
    from longhaul.search.fleet import check_resources, local_resources
    from longhaul_trainers.errors import SettingError

    if address is None:
        check_resources(spec, local_resources())
    ledger = existing(spec, storage)
    if ledger is not None:
        return ledger
    try:
        environment = search_environment(spec)
    except SettingError as error:
        raise RequestError(str(error)) from error
    return Ledger.create(storage, spec.name, spec.to_yaml(), environment)


def existing(spec: "SearchSpec", storage: str) -> "Ledger | None":
    """The ledger of a search that was begun before, None where it was not.

    Raises:
        RequestError: another search has the name.
    """
    from longhaul.errors import RequestError
    from longhaul.ledger import Ledger, UnknownSearchError
    from longhaul.spec.comparison import difference
    from longhaul.spec.search_spec import SearchSpec

    try:
        ledger = Ledger.open(storage, spec.name)
    except UnknownSearchError:
        return None
    recorded = SearchSpec.from_text(ledger.spec_text(), f"{spec.name}/spec.yaml", name=spec.name)
    if recorded.sha256 != spec.sha256:
        raise RequestError(
            f"there is another search called {spec.name} in {storage}: "
            f"{difference(recorded, spec)}; give this one a name of its own: --name {spec.name}-2"
        )
    return ledger
