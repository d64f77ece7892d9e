"""The log of a search for programs: one JSON object a line, in its folder or on standard error.

Every event of the driver is a line, whose number is bounded by that of trials and rungs, beside
what the packages of Longhaul warn of. It is a copy: the ledger has all of it, and more.
"""

import json
import logging
import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from longhaul.ledger import Event, EventKind, Ledger
from longhaul.redaction import redact

FILE = "log.jsonl"
ROOT = "longhaul"
"""The logger above all of Longhaul's."""
EVENTS = logging.getLogger("longhaul.search.events")

_LEVELS = {
    EventKind.DIVERGED: logging.WARNING,
    EventKind.FAILED: logging.WARNING,
    EventKind.INTERRUPTED: logging.WARNING,
}
# What is told of an event; configurations and distributions are for the ledger alone.
_TOLD = (
    "step",
    "value",
    "decision",
    "reason",
    "attempt",
    "attempts",
    "from_step",
    "node",
    "host",
    "trials",
    "resumed",
    "changes",
    "by",
    "state",
    "budget",
)


def log_event(event: Event) -> None:
    """Writes one event of a search to the log."""
    level = _LEVELS.get(event.kind, logging.INFO)
    if event.data.get("state") == "failed":
        level = logging.ERROR
    what = "search" if event.trial is None else f"trial {event.trial}"
    told = {key: event.data[key] for key in _TOLD if key in event.data}
    fields = {"trial": event.trial, "event": event.sequence, "kind": str(event.kind)} | told
    EVENTS.log(level, "%s %s", what, event.kind, extra={"fields": fields})


class JsonLines(logging.Formatter):
    """Formats a record as one JSON object.

    Args:
        search: the name of the search.
    """

    def __init__(self, search: str) -> None:
        super().__init__()
        self._search = search

    def format(self, record: logging.LogRecord) -> str:
        """One line without its newline; secrets are taken out of texts."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "search": self._search,
            "trial": None,
            "message": record.getMessage(),
            "logger": record.name,
        }
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(_plain(line), allow_nan=False, ensure_ascii=False, default=str)


class _File(logging.FileHandler):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - overrides logging's
        """A full disk ends a search through its ledger, which has everything; not through this."""


@contextmanager
def search_log(ledger: Ledger, *, stderr_as_json: bool = False) -> Iterator[None]:
    """Meanwhile the log of a search is written.

    Args:
        ledger: of the search; a storage that is no folder keeps no log.
        stderr_as_json: whether the lines also go to standard error.
    """
    root = logging.getLogger(ROOT)
    level, handlers = root.level, list(_handlers(ledger, stderr_as_json))
    root.setLevel(logging.INFO)
    for one in handlers:
        root.addHandler(one)
    try:
        yield
    finally:
        root.setLevel(level)
        for one in handlers:
            root.removeHandler(one)
            with suppress(OSError):  # what a full disk did not take
                one.close()


def _handlers(ledger: Ledger, stderr_as_json: bool) -> Iterator[logging.Handler]:
    lines = JsonLines(ledger.name)
    path = ledger.storage.local_path(FILE)
    file = None if path is None else _opened(path)
    if file is not None:
        file.setFormatter(lines)
        yield file
    if stderr_as_json:
        shown = logging.StreamHandler(sys.stderr)
        shown.setFormatter(lines)
        yield shown
    elif not logging.getLogger().handlers:
        # What Python does with warnings where no handler is set up; events are for the view.
        plain = logging.StreamHandler(sys.stderr)
        plain.setLevel(logging.WARNING)
        plain.addFilter(lambda record: not hasattr(record, "fields"))
        yield plain


def _opened(path: Path) -> _File | None:
    try:
        return _File(path, encoding="utf-8")
    except OSError:
        return None


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no such numbers
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    return value
