"""The storage of searches: everything the ledger does there is really done, and cleared away."""

import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from longhaul.doctor.finding import Finding, ok, problem, warning
from longhaul.errors import LonghaulError
from longhaul.ledger import (
    Ledger,
    Owner,
    SearchOwnedError,
    Storage,
    StorageError,
    open_storage,
)
from longhaul.ledger.lease import release_lease, take_lease

PART = "storage"
CLOCK = "clock"
PROBE = "doctor-"
"""The folder of a probe begins so; no search's does, for it has no specification."""
SHORT_BYTES = 2 * 2**30
FULL_BYTES = 50 * 2**20
SKEW_S = 2.0
_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True)
class Mount:
    """A file system.

    Attributes:
        kind: such as ``ext4``, ``nfs4`` or ``tmpfs``.
        options: as the kernel tells them.
    """

    kind: str
    options: frozenset[str]


def check_storage(uri: str) -> Iterator[Finding]:
    """Writes, syncs, renames, takes a lease, and looks at space, mount and clock.

    Args:
        uri: the storage of all searches.
    """
    try:
        root = open_storage(uri)
        with probe_folder(root) as probe:
            yield from _work(probe, root)
            yield from _clock(probe)
        searches = len(Ledger.names(root))
    except (LonghaulError, OSError) as error:
        yield problem(PART, f"{uri} cannot be used: {error}", _fix(uri))
        return
    yield ok(PART, f"{root.uri}: written, synced, renamed, leased; {searches} searches there")
    yield from _space(root)


@contextmanager
def probe_folder(root: Storage) -> Iterator[Storage]:
    """A folder of the storage to try things in; it is removed, and so is a root that was new."""
    name = f"{PROBE}{secrets.token_hex(6)}"
    here = root.local_path("x")
    made = [] if here is None else [one for one in here.parents if not one.exists()]
    try:
        yield root.folder(name)
    finally:
        root.delete(name)
        for folder in made:
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


def _work(probe: Storage, root: Storage) -> Iterator[Finding]:
    """What a ledger does; raises what it would raise."""
    content = secrets.token_bytes(4096)
    probe.write("file", content)
    probe.rename("file", "renamed")
    if probe.read("renamed") != content or probe.exists("file"):
        raise StorageError("what was written and renamed is not what is read")
    if not probe.create("once", b"1") or probe.create("once", b"2") or probe.read("once") != b"1":
        raise StorageError("a file can be created twice, so that two drivers could own one search")
    lease = take_lease(probe, "doctor", Owner.here())
    try:
        take_lease(probe, "doctor", Owner.here())
    except SearchOwnedError:
        release_lease(probe, lease)
    else:
        raise StorageError("a lease was given to two owners")
    if not _links(probe):
        message = f"{root.uri}: no hard links; a reader may see a file before its content"
        yield warning(PART, message, "keep the ledgers on a file system that has them")


def _links(probe: Storage) -> bool:
    here = probe.local_path("renamed")
    if here is None:
        return True
    try:
        os.link(here, here.with_name("linked"))
    except OSError:
        return False
    return True


def _clock(probe: Storage) -> Iterator[Finding]:
    here = probe.local_path("clock")
    if here is None:
        return
    before = time.time()
    probe.write("clock", b"")
    written, after = here.stat().st_mtime, time.time()
    # the clock that stamps files ticks a few times in a hundredth of a second
    skew = max(0.0, before - written - 0.05, written - after - 0.05)
    if skew > SKEW_S:
        message = f"the storage's clock and this machine's differ by {skew:.1f} s"
        yield warning(CLOCK, f"{message}; times of events will not fit", "run NTP on both")
    else:
        yield ok(CLOCK, "the storage stamps files with this machine's time")


def _space(root: Storage) -> Iterator[Finding]:
    here = root.local_path("x")
    if here is None:
        return
    folder = next(one for one in here.parents if one.exists())
    free = shutil.disk_usage(folder).free
    shown = f"{free / 2**30:.1f} GiB free in {folder}"
    if free < FULL_BYTES:
        yield problem(PART, shown, "free some space, or name another storage with --storage")
    elif free < SHORT_BYTES:
        yield warning(PART, shown, "longhaul clean says what may go")
    else:
        yield ok(PART, shown)
    mount = mount_of(folder)
    if mount is not None:
        yield from about_mount(mount, folder)


def about_mount(mount: Mount, folder: Path) -> Iterator[Finding]:
    """What is said of the file system that a storage lies on."""
    if mount.kind.startswith("nfs"):
        if "lookupcache=positive" in mount.options or "lookupcache=pos" in mount.options:
            yield ok(PART, f"{folder} is shared by {mount.kind}, mounted with lookupcache=positive")
        else:
            message = f"{folder} is on {mount.kind} without lookupcache=positive: a driver that "
            message += "was superseded learns of it up to a minute late"
            yield warning(PART, message, "mount it with -o lookupcache=positive")
    elif mount.kind in ("tmpfs", "ramfs"):
        message = f"{folder} is kept in memory ({mount.kind}): searches end with the machine"
        yield warning(PART, message, "name a folder on a disk: --storage FOLDER")


def mount_of(folder: Path, table: Path = Path("/proc/self/mountinfo")) -> Mount | None:
    """The file system of a folder; None where the system does not tell.

    Args:
        folder: an absolute path that exists.
        table: the kernel's list, one mount a line; of equal places the last counts.
    """
    try:
        lines = table.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    found: tuple[int, Mount] | None = None
    for line in lines:
        front, _, back = line.partition(" - ")
        fields, kind = front.split(), back.split()
        point = Path(_OCTAL.sub(lambda match: chr(int(match[1], 8)), fields[4]))
        depth = len(point.parts)
        if folder.resolve().is_relative_to(point) and (found is None or depth >= found[0]):
            options = f"{fields[5]},{kind[2] if len(kind) > 2 else ''}"
            found = depth, Mount(kind[0], frozenset(options.split(",")))
    return None if found is None else found[1]


def _fix(uri: str) -> str:
    return f"make {uri} a folder that you may write to, or name another with --storage FOLDER"
