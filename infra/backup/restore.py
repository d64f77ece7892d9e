"""Restores a backup into an empty storage and an empty database; nothing is overwritten.

    PGHOST=... PGUSER=... PGDATABASE=... PGPASSWORD_FILE=... python restore.py BACKUP STORAGE

``BACKUP`` is one folder that backup.py made. Its checksums are compared first. Afterwards
`longhaul resume NAME` goes on with a search, and `longhaul sync NAME` gives MLflow what is newer in
the ledger than in the database.
"""

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

from backup import checksum, database_environment, fail

TABLES = "select count(*) from information_schema.tables where table_schema = 'public'"


def check(source: Path) -> list[str]:
    """Compares a backup with its manifest; the names of its files."""
    try:
        manifest = json.loads((source / "manifest.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        fail(f"{source} is no whole backup: it has no manifest.json")
    for name, expected in manifest["sha256"].items():
        if not (source / name).is_file():
            fail(f"{source / name} is missing; take another backup")
        if checksum(source / name) != expected:
            fail(f"{source / name} is damaged: its checksum is another; take another backup")
    return list(manifest["sha256"])


def check_storage(storage: Path) -> None:
    """Refuses a storage that holds anything."""
    if storage.exists() and any(storage.iterdir()):
        fail(f"storage {storage} is not empty; restore into a new folder")


def check_database() -> None:
    """Refuses a database that holds tables."""
    words = ["psql", "--no-psqlrc", "--tuples-only", "--no-align", f"--command={TABLES}"]
    done = subprocess.run(
        words, env=database_environment(), capture_output=True, encoding="utf-8", check=False
    )
    if done.returncode:
        fail(f"the database cannot be asked: {done.stderr.strip()}")
    if int(done.stdout) > 0:
        fail("the database is not empty; restore into a new one: createdb NAME")


def restore_database(dump: Path) -> None:
    """Fills the database that the ``PG*`` variables name, wholly or not at all."""
    words = ["pg_restore", "--no-owner", "--single-transaction", "--exit-on-error"]
    words += [f"--dbname={os.environ['PGDATABASE']}", str(dump)]
    done = subprocess.run(words, env=database_environment(), check=False)
    if done.returncode:
        fail(f"pg_restore ended with status {done.returncode}; the database is as it was")


def restore(source: Path, storage: Path) -> None:
    """Restores everything that a backup holds."""
    files = check(source)
    check_storage(storage)
    if "database.dump" in files:
        if not os.environ.get("PGDATABASE"):
            fail("the backup holds a database: say where it goes with PGHOST, PGUSER, PGDATABASE")
        check_database()
        restore_database(source / "database.dump")
    storage.mkdir(parents=True, exist_ok=True)
    with tarfile.open(source / "ledger.tar") as archive:
        # "data" refuses names that lead out of the folder, links and devices.
        archive.extractall(storage, filter="data")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        fail("usage: restore.py BACKUP STORAGE")
    restore(Path(sys.argv[1]), Path(sys.argv[2]))
