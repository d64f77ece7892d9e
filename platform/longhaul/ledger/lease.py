"""Who may write to a search: leases with fencing numbers.

Every owner creates ``owner/FENCE.json`` exclusively; the largest number owns the search. Only then
does it look for the last event that is there, and writes that number (`follows`) into its lease:
what an earlier owner writes beyond it does not count. An owner looks for a newer lease before and
after each event, so an event that it acknowledges was there when the next owner looked.

No decision compares clocks. An owner of this machine is dead when its process is gone; of another,
when the counter in its heartbeat file stands still for a while.
"""

import contextlib
import getpass
import json
import logging
import os
import re
import shlex
import socket
import sys
import threading
import time
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from longhaul.ledger.errors import SearchOwnedError, StaleOwnerError, StorageError
from longhaul.ledger.storage import Storage
from longhaul.redaction import redact

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


@dataclass(frozen=True, slots=True)
class Owner:
    """A process that runs a search.

    Args:
        user: login name.
        host: host name.
        pid: process number.
        machine: boot and process namespace in which `pid` means something; empty if unknown.
        process_start: start of the process in clock ticks since boot; None if unknown. With it, a
            process number that was given out again is not mistaken for the owner.
        command: its command line, without credentials.
    """

    user: str
    host: str
    pid: int
    machine: str = ""
    process_start: int | None = None
    command: str = ""

    @classmethod
    def here(cls, command: str | None = None) -> "Owner":
        """The running process."""
        process = _process(os.getpid())
        return cls(
            user=_user(),
            host=socket.gethostname(),
            pid=os.getpid(),
            machine=_machine(),
            process_start=process[1] if process else None,
            command=redact(command or shlex.join(sys.argv)),
        )

    def __str__(self) -> str:
        command = f": {self.command}" if self.command else ""
        return f"{self.user} on {self.host} (process {self.pid}{command})"


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
        record = json.loads(storage.read(lease_path(fence)))
        known = {entry.name for entry in fields(Owner)}
        return Lease(
            fence=fence,
            owner=Owner(**{key: item for key, item in record["owner"].items() if key in known}),
            since=datetime.fromisoformat(record["since"]),
            follows=record["follows"],
            released=record["released"],
        )
    except FileNotFoundError:
        return Lease(fence)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        _log.warning("%s/%s is damaged: %r", storage.uri, lease_path(fence), error)
        return Lease(fence)


def read_cuts(storage: Storage) -> dict[int, int]:
    """For each fence, the last event that its owner found: earlier owners end there."""
    leases = (read_lease(storage, fence) for fence in fences(storage))
    return {lease.fence: lease.follows for lease in leases if lease.follows is not None}


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
    if storage.exists(lease_path(lease.fence + 1)):
        return
    try:
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


def _examine(storage: Storage, lease: Lease) -> str | None:
    """What became of an owner of this machine: alive, stopped or gone; None if unknown."""
    owner = lease.owner
    if owner is None or not owner.machine or owner.machine != _machine():
        return None
    if owner.host != socket.gethostname():
        return None
    process = _process(owner.pid)
    if process is None or process[0] in "ZX" or process[1] != owner.process_start:
        return "gone"
    if owner.pid == os.getpid() and (storage.uri, lease.fence) not in _held:
        return "gone"  # this very process gave it up, but could not write that down
    # A stopped process may stay so for ever, and fencing makes taking over from it safe.
    return "stopped" if process[0] in "Tt" else "alive"


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
    return json.dumps(record, indent=2).encode() + b"\n"


def _process(pid: int) -> tuple[str, int] | None:
    """State letter and start time of a process of this machine; None if there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    # The second field is the command in brackets and may itself hold brackets and spaces.
    rest = text[text.rindex(")") + 1 :].split()
    return rest[0], int(rest[19])


def _machine() -> str:
    """What must be equal for a process number to mean the same process."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number without a name
        return str(os.getuid())
