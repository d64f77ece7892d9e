"""Backs up MLflow's database and the ledgers, in that order, while searches run.

    PGHOST=... PGUSER=... PGDATABASE=... PGPASSWORD_FILE=... python backup.py STORAGE FOLDER

Writes ``FOLDER/YYYYMMDDTHHMMSSZ/`` with ``database.dump`` (pg_dump's custom format), ``ledger.tar``
and ``manifest.json`` with the checksums, which is written last: a folder without it is no backup.
Without ``PGDATABASE`` the ledgers alone are backed up, from which MLflow can be filled again.

Why in that order: MLflow holds nothing that the ledger has not, and `longhaul sync` gives it what
it lacks. A ledger that is newer than the database is therefore whole; an older one would not be.

The files of a ledger are written once, whole, and renamed into place; segments are merged into one
and then removed. So each folder is read until nothing vanished meanwhile, and the events before the
trials: what an event speaks of was there before the event.
"""

import hashlib
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

TRIES = 100
CHUNK = 1 << 20
# A lease says who runs the search now, on the machine that the backup is taken from.
FIRST = ("spec.yaml", "environment.json", "owner", "events")


def fail(message: str) -> None:
    """Ends the program with status 2."""
    sys.stderr.write(f"error: {message}\n")
    sys.exit(2)


def database_environment() -> dict[str, str]:
    """The environment for PostgreSQL's programs: the password read from its file."""
    environment = dict(os.environ)
    file = environment.pop("PGPASSWORD_FILE", "")
    if file:
        try:
            environment["PGPASSWORD"] = Path(file).read_text(encoding="utf-8").strip()
        except OSError as error:
            fail(f"PGPASSWORD_FILE={file}: {error.strerror}; it holds the password of PGUSER")
    return environment


def dump_database(target: Path) -> None:
    """Writes the database that the ``PG*`` variables name; one consistent moment of it."""
    words = ["pg_dump", "--format=custom", "--no-owner", f"--file={target}"]
    done = subprocess.run(words, env=database_environment(), check=False)
    if done.returncode:
        fail(f"pg_dump ended with status {done.returncode}; nothing was backed up")


def searches(storage: Path) -> list[Path]:
    """The folders of searches in a storage, by name."""
    found = sorted(one.parent for one in storage.glob("*/spec.yaml"))
    return [one for one in found if not is_link(one)]


def is_link(path: Path) -> bool:
    """Whether to pass something over: who may write to a storage must not have read what we may."""
    if path.is_symlink():
        sys.stderr.write(f"warning: {path} is a link and not backed up\n")
    return path.is_symlink()


def in_order(search: Path) -> Iterator[Path]:
    """A search's folders in the order in which they must be read, each without its subfolders."""
    for name in FIRST:
        if (search / name).is_dir():
            yield from folders(search / name)
    yield search
    for one in sorted(search.iterdir()):
        if one.is_dir() and one.name not in FIRST and not one.name.startswith("."):
            yield from folders(one)


def folders(top: Path) -> Iterator[Path]:
    """A folder and those below it."""
    if is_link(top):
        return
    yield top
    for one in sorted(top.iterdir()):
        if one.is_dir() and not one.name.startswith("."):
            yield from folders(one)


def read_folder(folder: Path) -> dict[str, bytes]:
    """The files of one folder as they were at one moment, by name.

    Raises:
        RuntimeError: files went on vanishing.
    """
    for _ in range(TRIES):
        names = [
            one.name
            for one in sorted(folder.iterdir())
            if one.is_file() and not one.name.startswith(".") and not is_link(one)
        ]
        try:
            return {name: (folder / name).read_bytes() for name in names}
        except FileNotFoundError:
            continue
    raise RuntimeError(f"{folder} changed {TRIES} times while it was read")


def add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    """Adds one file, readable by its owner alone."""
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), 0o600
    archive.addfile(entry, BytesIO(data))


def copy_ledgers(storage: Path, target: Path) -> list[str]:
    """Writes all searches of a storage into one archive; their names."""
    found = searches(storage)
    with tarfile.open(target, "w") as archive:
        for search in found:
            for folder in in_order(search):
                for name, data in read_folder(folder).items():
                    add(archive, str((folder / name).relative_to(storage)), data)
    return [one.name for one in found]


def checksum(file: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def backup(storage: Path, folder: Path) -> Path:
    """Makes one backup; the folder that holds it."""
    if not storage.is_dir():
        fail(f"storage {storage} is no folder")
    os.umask(0o077)
    target = folder / datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    target.mkdir(parents=True)
    files = ["ledger.tar"]
    if os.environ.get("PGDATABASE"):
        dump_database(target / "database.dump")
        files.insert(0, "database.dump")
    names = copy_ledgers(storage, target / "ledger.tar")
    manifest = {"format": 1, "searches": names, "sha256": {f: checksum(target / f) for f in files}}
    for file in files:
        with (target / file).open("rb") as stream:
            os.fsync(stream.fileno())
    temporary = target / ".manifest.json"
    temporary.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    temporary.rename(target / "manifest.json")
    return target


if __name__ == "__main__":
    if len(sys.argv) != 3:
        fail("usage: backup.py STORAGE FOLDER")
    print(backup(Path(sys.argv[1]), Path(sys.argv[2])))
