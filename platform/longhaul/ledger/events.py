"""Events: what happened in a search, one line each, every line with its own checksum."""

import re
import zlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, NamedTuple

from longhaul.ledger.errors import LedgerFormatError
from longhaul.ledger.exact_json import dumps, loads

FORMAT = 1

# {"crc":"89abcdef","format":1,...}: a line is JSON, and its checksum covers all that follows it.
_PREFIX = b'{"crc":"'
_PAYLOAD = 18
_RESTART = re.compile(rb'(?=\{"crc":")')
_HEAD = re.compile(rb'"format":(\d+),"sequence":(\d+),"fence":(\d+),')


class EventKind(StrEnum):
    """What an event tells; its `data` holds the names in brackets.

    Of the search: ``opened`` (trials, resumed, ``spec_file``: SHA-256 of ``spec.yaml``, and, where
    there are any, ``objective`` other than the validation loss, ``limits`` other than the
    specification's, ``requests``: how many of them count already, ``gpus`` of a trial or pack),
    ``changed`` (changes, request, by), ``interrupted`` (reason), ``closed`` (reason, ``state``:
    completed or failed, and the ``budget`` that ended it, if any).

    Of a trial: ``suggested`` (params, distributions, config, and ``parameters``: how many of them
    are trained), ``started`` (attempt, from_step, node, pid), ``reported`` (step, value, decision:
    continue, stop or done), ``stopped`` (step, value), ``diverged`` (step, reason), ``failed``
    (reason, attempts), ``finished`` (step, value).
    """

    OPENED = "opened"
    CHANGED = "changed"
    SUGGESTED = "suggested"
    STARTED = "started"
    REPORTED = "reported"
    STOPPED = "stopped"
    DIVERGED = "diverged"
    FAILED = "failed"
    FINISHED = "finished"
    INTERRUPTED = "interrupted"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened.

    Args:
        sequence: position in the search, from 0, without gaps. Order comes from this alone.
        fence: the fencing number of the owner that wrote it.
        time: when, UTC; for people, never for order.
        kind: what.
        trial: the trial's number; None for an event of the search.
        data: what `EventKind` lists.
    """

    sequence: int
    fence: int
    time: datetime
    kind: EventKind
    trial: int | None = None
    data: dict[str, Any] = field(default_factory=dict)


class Line(NamedTuple):
    """An intact line of a segment, not yet decoded."""

    sequence: int
    fence: int
    raw: bytes
    """With its newline."""


def encode(event: Event) -> bytes:
    """An event as a line.

    Raises:
        TypeError: the data holds something that is neither JSON nor a scalar of numpy or torch.
    """
    payload = {
        "format": FORMAT,
        "sequence": event.sequence,
        "fence": event.fence,
        "time": event.time.astimezone(UTC).isoformat(timespec="microseconds"),
        "kind": str(event.kind),
        "trial": event.trial,
        "data": event.data,
    }
    body = dumps(payload)[1:].encode()
    return b'{"crc":"%08x",%s\n' % (zlib.crc32(body), body)


def decode(line: bytes) -> Event:
    """The event of an intact line, as `intact_lines` gives them."""
    payload = loads(b"{" + line[_PAYLOAD:])
    return Event(
        sequence=payload["sequence"],
        fence=payload["fence"],
        time=datetime.fromisoformat(payload["time"]),
        kind=EventKind(payload["kind"]),
        trial=payload["trial"],
        data=payload["data"],
    )


def intact_lines(content: bytes) -> list[Line]:
    """The lines of a segment whose checksum holds; the others are left out.

    Raises:
        LedgerFormatError: an intact line was written by a newer version.
    """
    lines: list[Line] = []
    for raw in content.split(b"\n"):
        line = _checked(raw)
        if line is not None:
            lines.append(line)
        elif raw:
            lines.extend(_rescued(raw))
    return lines


def _checked(raw: bytes) -> Line | None:
    if raw[:8] != _PREFIX or raw[16:_PAYLOAD] != b'",':
        return None
    if raw[8:16] != b"%08x" % zlib.crc32(memoryview(raw)[_PAYLOAD:]):
        return None
    head = _HEAD.match(raw, _PAYLOAD)
    if head is None:
        return None
    version, sequence, fence = map(int, head.groups())
    if version > FORMAT:
        raise LedgerFormatError(
            f"this search was written by a newer version of Longhaul (event format {version}, "
            f"known here: {FORMAT}); upgrade to read it"
        )
    return Line(sequence, fence, raw + b"\n")


def _rescued(raw: bytes) -> list[Line]:
    """Lines that a damaged newline has glued together: one bad byte must not cost two events."""
    found = []
    for piece in _RESTART.split(raw):
        line = _checked(piece) or _checked(piece[:-1])
        if line is not None:
            found.append(line)
    return found
