"""Who may write to a search: leases with fencing numbers.

Every owner creates ``owner/FENCE.json`` exclusively; the largest number owns the search. Only then
does it look for the last event that is there, and writes that number (`follows`) into its lease:
what an earlier owner writes beyond it does not count. An owner looks for a newer lease before and
after each event, so an event that it acknowledges was there when the next owner looked.

No decision compares clocks. An owner of this machine is dead when its process is gone; of another,
when the counter in its heartbeat file stands still for a while.

Limit: "no newer lease exists" must be answered by the storage itself. An NFS mount on Linux needs
the option ``lookupcache=positive`` for that; with the default, an owner that was superseded may for
up to a minute acknowledge events that readers rightly ignore.
"""

import contextlib
import json
import logging
import os
import re
import threading
import time
import zlib
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any

from longhaul.ledger.errors import SearchOwnedError, StaleOwnerError, StorageError
from longhaul.ledger.owner import Owner as Owner
from longhaul.ledger.owner import OwnerState
from longhaul.ledger.storage import Storage

FOLDER = "owner"
HEARTBEAT_S = 5.0
"""Seconds between two heartbeats."""
PATIENCE_S = 20.0
"""Seconds that the heartbeat of another machine must stand still before a takeover."""

_SHOWN_ALIVE_S = 30.0
_NAME = re.compile(r"(\d{6,})\.json")
_log = logging.getLogger("longhaul.ledger")

# Leases that this process holds: one that names this process but is not here was given up.
_held: set[tuple[str, int]] = set()
_taking = threading.Lock()


@dataclass(frozen=True, slots=True)
class Lease:
    """One owner's right to write.

    Args:
        fence: the fencing number, from 1; a larger one supersedes it.
        owner: who; None if the file is unreadable.
        since: when it was taken, UTC.
        follows: the last event that was there; None until the owner has looked.
        released: whether the owner has given it up.
    """

    fence: int
    owner: Owner | None = None
    since: datetime | None = None
    follows: int | None = None
    released: bool = False


def lease_path(fence: int) -> str:
    """The lease file of a fencing number."""
    return f"{FOLDER}/{fence:06d}.json"


def heartbeat_path(fence: int) -> str:
    """The heartbeat file of a fencing number."""
    return f"{FOLDER}/{fence:06d}.heartbeat"


def fences(storage: Storage) -> list[int]:
    """All fencing numbers given out, ascending."""
    found = (_NAME.fullmatch(name) for name in storage.list(FOLDER))
    return sorted(int(match[1]) for match in found if match)


def newest_lease(storage: Storage) -> Lease | None:
    """The lease that owns the search, or owned it last."""
    known = fences(storage)
    return read_lease(storage, known[-1]) if known else None


def read_lease(storage: Storage, fence: int) -> Lease:
    """A lease; one that cannot be read has an unknown owner and cuts nothing off."""
    try:
        return _load(storage.read(lease_path(fence)))
    except FileNotFoundError:
        return Lease(fence)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        _log.warning("%s/%s is damaged: %r", storage.uri, lease_path(fence), error)
        return Lease(fence)


def read_cuts(storage: Storage, known: dict[int, int] | None = None) -> dict[int, int]:
    """For each fence, the last event that its owner found: earlier owners end there.

    Args:
        storage: the search's storage.
        known: what an earlier call returned; these leases are not read again.
    """
    cuts = dict(known or {})
    for fence in fences(storage):
        if fence not in cuts and (follows := read_lease(storage, fence).follows) is not None:
            cuts[fence] = follows
    return cuts


def write_lease(storage: Storage, lease: Lease) -> None:
    """Rewrite a lease that this process holds."""
    storage.write(lease_path(lease.fence), _dump(lease))


def check_fence(storage: Storage, name: str, fence: int) -> None:
    """Raise `StaleOwnerError` if a newer lease than this one exists. Costs one look-up."""
    # Numbers are given out without gaps, so a newer one exists only if the next one does.
    if storage.exists(lease_path(fence + 1)):
        newest = newest_lease(storage)
        raise StaleOwnerError(name, fence, newest.owner if newest else None)


def take_lease(
    storage: Storage,
    name: str,
    owner: Owner,
    patience_s: float = PATIENCE_S,
    force: bool = False,
) -> Lease:
    """Become the owner of a search.

    Args:
        storage: the search's storage.
        name: the search, for messages.
        owner: the process that takes it.
        patience_s: how long the heartbeat of an owner that cannot be examined must stand still.
        force: take it from a living owner too; that one's next write fails.

    Raises:
        SearchOwnedError: another process runs the search.
    """
    while True:
        newest = newest_lease(storage)
        if newest is not None and not force:
            _wait_until_free(storage, name, newest, patience_s)
        fence = newest.fence + 1 if newest else 1
        lease = Lease(fence, owner, datetime.now(UTC))
        with _taking:
            if storage.create(lease_path(fence), _dump(lease)):
                _held.add((storage.uri, fence))
                return lease
        force = False  # somebody was faster: look at them


def is_alive(storage: Storage, lease: Lease) -> bool:
    """Whether an owner seems to be at work; for showing, not for deciding who may write."""
    if lease.released:
        return False
    state = _examine(storage, lease)
    if state is not None:
        return state != "gone"
    age = storage.age_s(heartbeat_path(lease.fence))
    return age is not None and age < _SHOWN_ALIVE_S


class Heartbeat:
    """Rewrites a counter from a daemon thread for as long as the owner lives.

    Args:
        storage: the search's storage.
        fence: the owner's fencing number.
        interval_s: seconds between two beats.
    """

    def __init__(self, storage: Storage, fence: int, interval_s: float = HEARTBEAT_S) -> None:
        self._storage = storage
        self._fence = fence
        self._interval_s = interval_s
        self._count = 0
        self._ended = threading.Event()
        self._beat()
        self._thread = threading.Thread(
            target=self._run, name=f"longhaul-heartbeat-{fence}", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._ended.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while not self._ended.wait(self._interval_s):
            self._beat()

    def _beat(self) -> None:
        self._count += 1
        # A beat that fails (a full disk, say) must not end the beating.
        with contextlib.suppress(StorageError):
            self._storage.write(heartbeat_path(self._fence), b"%d\n" % self._count)


def release_lease(storage: Storage, lease: Lease) -> None:
    """Give a lease up, so that the next owner need not wait."""
    _held.discard((storage.uri, lease.fence))
    try:
        if not storage.exists(lease_path(lease.fence + 1)):
            write_lease(storage, replace(lease, released=True))
    except StorageError as error:
        _log.warning("the lease was not released: %s", error)


def _wait_until_free(storage: Storage, name: str, lease: Lease, patience_s: float) -> None:
    """Return when a lease may be superseded; raise `SearchOwnedError` when it is alive."""
    if lease.released:
        return
    state = _examine(storage, lease)
    if state == "gone":
        return
    if state == "alive":
        raise SearchOwnedError(name, lease.owner)
    before = _heartbeat(storage, lease.fence)
    start = time.monotonic()
    while True:
        waited = time.monotonic() - start
        # Looked at after the clock: this process may itself have been stopped for a while.
        if _heartbeat(storage, lease.fence) != before:
            raise SearchOwnedError(name, lease.owner or "an unknown process")
        if waited >= patience_s or read_lease(storage, lease.fence).released:
            return
        if storage.exists(lease_path(lease.fence + 1)):
            return
        time.sleep(min(0.5, max(0.01, patience_s / 20)))


def _examine(storage: Storage, lease: Lease) -> OwnerState | None:
    """What became of an owner of this machine; None if that cannot be seen from here."""
    owner = lease.owner
    state = owner.examine() if owner else None
    if owner and state == "alive" and owner.pid == os.getpid():
        # This very process may have given it up without being able to write that down.
        with _taking:
            return state if (storage.uri, lease.fence) in _held else "gone"
    return state


def _heartbeat(storage: Storage, fence: int) -> bytes | None:
    try:
        return storage.read(heartbeat_path(fence))
    except FileNotFoundError:
        return None


def _dump(lease: Lease) -> bytes:
    record: dict[str, Any] = {
        "format": 1,
        "fence": lease.fence,
        "owner": asdict(lease.owner) if lease.owner else {},
        "since": lease.since.isoformat() if lease.since else None,
        "follows": lease.follows,
        "released": lease.released,
    }
    return json.dumps({**record, "crc": _checksum(record)}, indent=2).encode() + b"\n"


def _load(data: bytes) -> Lease:
    record = json.loads(data)
    # One changed digit of `follows` would hide events, or show ones that do not count.
    if record.pop("crc") != _checksum(record):
        raise ValueError("wrong checksum")
    known = {entry.name for entry in fields(Owner)}
    return Lease(
        fence=record["fence"],
        owner=Owner(**{key: item for key, item in record["owner"].items() if key in known}),
        since=datetime.fromisoformat(record["since"]),
        follows=record["follows"],
        released=record["released"],
    )


def _checksum(record: dict[str, Any]) -> str:
    return f"{zlib.crc32(json.dumps(record, sort_keys=True).encode()):08x}"
