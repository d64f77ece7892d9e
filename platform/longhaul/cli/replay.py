"""``longhaul replay``: whether a search would decide again as it did."""

from typing import TYPE_CHECKING

import click

from longhaul.cli.options import json_option, name_argument, storage_option

if TYPE_CHECKING:
    from longhaul.search.replay import Difference, Replayed

SHOWN = 5


@click.command("replay")
@name_argument
@storage_option
@json_option
def replay_command(name: str, storage: str, as_json: bool) -> None:
    """Put what search NAME recorded to the same sampler and scheduler again.

    Nothing is trained and nothing written. Every suggestion and every stop must come out as it is
    in the ledger; exits with 1 where one does not. It works while the search runs, too.

    \b
    longhaul replay copying-quickstart
    """
    from longhaul.cli.output import emit
    from longhaul.environment import differences
    from longhaul.ledger import Ledger
    from longhaul.search.driver import search_environment
    from longhaul.search.replay import replay
    from longhaul.spec.search_spec import SearchSpec

    ledger = Ledger.open(storage, name)
    spec = SearchSpec.from_text(ledger.spec_text(), f"{name}/spec.yaml", name=name)
    replayed = replay(spec, ledger.events())
    environment = []
    if replayed.differences:
        environment = differences(ledger.environment(), search_environment(spec))
    data = {
        "search": name,
        "verdict": "different" if replayed.differences else "identical",
        "suggestions": replayed.suggestions,
        "decisions": replayed.decisions,
        "differences": replayed.differences,
        "environment": environment,
    }
    emit(data, as_json, lambda: _text(name, replayed, environment))
    if replayed.differences:
        raise click.exceptions.Exit(1)


def _text(name: str, replayed: "Replayed", environment: list[str]) -> str:
    asked = f"{replayed.suggestions} suggestions and {replayed.decisions} decisions"
    if not replayed.differences:
        return f"{name}: identical\n{asked} come out as recorded"
    count = len(replayed.differences)
    lines = [f"{name}: different", f"{count} of {asked} do not come out as recorded"]
    lines += map(_line, replayed.differences[:SHOWN])
    if count > SHOWN:
        lines.append(f"and {count - SHOWN} more (--json has all)")
    if environment:
        lines.append("the environments differ (recorded / now):")
        lines += [f"  {line}" for line in environment]
    return "\n".join(lines)


def _line(one: "Difference") -> str:
    at = "the suggestion" if one.step is None else f"the decision at step {one.step}"
    return f"  trial {one.trial}, {at}: recorded {_words(one.recorded)}, now {_words(one.found)}"


def _words(found: object) -> str:
    if isinstance(found, dict):
        return ", ".join(f"{name}={value!r}" for name, value in found.items()) or "none of these"
    return "nothing new" if found is None else str(found)
