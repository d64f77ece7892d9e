"""Changes to a search that runs, or will: asked for by anybody, carried out by its driver.

A change is a file ``requests/NNNNNN.json`` in the search's folder. Only the owner of a search may
write events, so whoever asks leaves a file, and the driver, which looks for the next number every
second, writes down as an event what it has done. No signal, no port: it works from any machine that
sees the storage, and for a search that nobody runs it waits for the next resume.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from longhaul.errors import RequestError
from longhaul.ledger import Event, EventKind, Ledger, Owner, Storage, StorageError
from longhaul.ledger.exact_json import dumps, loads
from longhaul.spec.document import Document
from longhaul.spec.overrides import override
from longhaul.spec.search_settings import CHANGEABLE, SearchSettings
from longhaul.spec.search_spec import SearchSpec
from longhaul_trainers.errors import SettingError, nearest
from longhaul_trainers.settings import describe, parse

FORMAT = 1
FOLDER = "requests"


@dataclass(frozen=True)
class Request:
    """Some settings of a search that are to be others.

    Attributes:
        number: from 0, in the order of asking.
        changes: values by the name of the setting, all of `CHANGEABLE`.
        by: who asks.
    """

    number: int
    changes: Mapping[str, Any]
    by: str


def parse_changes(words: Sequence[str], search: SearchSettings) -> dict[str, Any]:
    """What is asked for on a command line.

    Args:
        words: ``search.NAME=VALUE`` each.
        search: the settings that are to change.

    Raises:
        RequestError: something that cannot change, or to a value that it cannot have.
    """
    allowed = [f"search.{name}" for name in CHANGEABLE]
    for word in words:
        path = word.partition("=")[0].strip()
        if path not in allowed and "=" in word:
            known = path.removeprefix("search.") in describe(SearchSettings)
            why = "is fixed once a search has begun" if known else nearest(path, allowed)
            raise RequestError(
                f"{path}: {why}; what may change while it runs: {', '.join(allowed)}"
            )
    document = override(Document("", {"search": {}}, {}), words, origin=lambda path: path)
    changes = dict(document.value["search"])
    try:
        values = parse(SearchSettings, changes, "search", check=False)
        asked = {name: getattr(values, name) for name in changes}
        applied(search, asked)
    except SettingError as error:
        raise RequestError(f"{error.path}: {error.problem}") from error
    return asked


def applied(search: SearchSettings, changes: Mapping[str, Any]) -> SearchSettings:
    """The settings after a change.

    Raises:
        SettingError: they would contradict each other, or what was decided so far.
    """
    if search.order == "number" and changes.get("parallel", search.parallel) != search.parallel:
        problem = "decides what is suggested where search.order is number; begin a new search"
        raise SettingError("search.parallel", problem)
    changed = search.with_changes(**changes)
    changed.check()
    return changed


def in_force(ledger: Ledger) -> SearchSettings:
    """The settings of a search by its ledger: as it was last opened, with what was asked since."""
    spec = SearchSpec.from_text(ledger.spec_text(), f"{ledger.name}/spec.yaml", name=ledger.name)
    changes, heeded = limits_of(ledger.iterate_events())
    for request in read_requests(ledger.storage, heeded):
        changes |= request.changes
    return applied(spec.search, changes)


def limits_of(events: Iterable[Event]) -> tuple[dict[str, Any], int]:
    """What the events say of the limits, and how many requests they have heeded."""
    changes: dict[str, Any] = {}
    heeded = 0
    for event in events:
        if event.kind is EventKind.OPENED:
            limits = event.data.get("limits", {})
            changes |= {"trials": event.data["trials"]} if "trials" in event.data else {}
            changes |= limits
            heeded = event.data.get("requests", heeded)
        elif event.kind is EventKind.CHANGED:
            changes |= event.data["changes"]
            heeded = event.data["request"] + 1
    return changes, heeded


def ask(ledger: Ledger, changes: Mapping[str, Any]) -> Request:
    """Leaves a request for the driver that runs the search, or will."""
    by = Owner.here()
    number = sum(1 for _ in read_requests(ledger.storage))
    while True:
        content = {"format": FORMAT, "changes": changes, "by": str(by)}
        text = dumps(content | {"time": datetime.now(UTC).isoformat()}, indent=1)
        if ledger.storage.create(_path(number), text.encode() + b"\n"):
            return Request(number, changes, str(by))
        number += 1  # somebody else was faster


def read_requests(storage: Storage, first: int = 0) -> Iterator[Request]:
    """The requests from a number on, in order; without any it costs one look.

    A file that is damaged, or asks for what nobody may ask, asks for nothing.
    """
    number = first
    while storage.exists(_path(number)):
        try:
            content = loads(storage.read(_path(number)))
            if content["format"] != FORMAT or not set(content["changes"]) <= set(CHANGEABLE):
                raise ValueError
            values = parse(SearchSettings, content["changes"], check=False)
            changes = {name: getattr(values, name) for name in content["changes"]}
            yield Request(number, changes, str(content["by"]))
        except (ValueError, KeyError, TypeError, SettingError, StorageError):
            yield Request(number, {}, "a damaged file")
        number += 1


def _path(number: int) -> str:
    return f"{FOLDER}/{number:06d}.json"
