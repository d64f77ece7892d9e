"""Ledgers to break, and a storage that crashes or fills up when told to."""

import itertools
import os
import secrets
import subprocess
import tempfile
from pathlib import Path

import pytest
import s3_server

from longhaul.ledger import Ledger, LocalStorage, Storage, StorageFullError, open_storage, s3


class Crash(BaseException):
    """The process dies here: no handler of the code under test may catch it."""


class FailingStorage(Storage):
    """Passes everything on to a real storage, except for the change number `fail_at`.

    Each changing operation has two points where a process can die: before it took effect and after
    it, so change 2n is the first and 2n + 1 the second of operation n. With `full`, the storage
    says that it is full instead, from that operation on, and nothing dies.
    """

    def __init__(self, real, fail_at=None, full=False):
        self.real = real
        self.uri = real.uri
        self.fail_at = fail_at
        self.full = full
        self.points = 0
        self.dead = False
        self.before = {}  # operation -> callable(*args), for interleavings

    def _change(self, operation, *arguments):
        self._alive()
        hook = self.before.pop(operation, None)
        if hook is not None:
            hook(*arguments)
        if self.full and self.fail_at is not None and self.points >= self.fail_at:
            if operation in ("write", "create"):
                raise StorageFullError("full")
        elif self.points == self.fail_at:
            self.die()
        result = getattr(self.real, operation)(*arguments)
        if not self.full and self.points + 1 == self.fail_at:
            self.die()
        self.points += 2
        return result

    def die(self):
        """A dead process does nothing more, however its code goes on."""
        self.dead = True
        raise Crash

    def _alive(self):
        if self.dead:
            raise Crash
        return self.real

    def folder(self, path):
        return FailingStorage(self.real.folder(path), self.fail_at, self.full)

    def write(self, path, data):
        if path.endswith(".heartbeat"):  # its thread would make the count uncertain
            return self._alive().write(path, data)
        return self._change("write", path, data)

    def create(self, path, data):
        return self._change("create", path, data)

    def delete(self, path):
        return self._change("delete", path)

    def rename(self, old, new):
        return self._change("rename", old, new)

    def read(self, path):
        return self._alive().read(path)

    def list(self, folder):
        hook = self.before.pop(("list", folder), None)
        if hook is not None:
            hook()
        return self._alive().list(folder)

    def exists(self, path):
        return self._alive().exists(path)

    def sweep(self, folder):
        self._alive().sweep(folder)

    def age_s(self, path):
        return self._alive().age_s(path)

    def local_path(self, path):
        return self._alive().local_path(path)


@pytest.fixture
def crash():
    return Crash


@pytest.fixture
def failing_storage():
    return FailingStorage


@pytest.fixture
def memory_path():
    """A folder in memory where there is one: what is tested is not the speed of a disk's sync."""
    parent = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=parent, prefix="longhaul-test-") as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def s3_variables():
    """Where boto3 finds a server of S3's protocol."""
    with s3_server.started() as variables:
        yield variables


@pytest.fixture
def bucket(s3_variables, monkeypatch):
    """A storage in a new bucket."""
    for name, value in s3_variables.items():
        monkeypatch.setenv(name, value)
    s3._client.cache_clear()
    s3._exclusive.clear()
    name = f"bucket-{secrets.token_hex(6)}"
    s3._client(os.getpid()).create_bucket(Bucket=name)
    yield open_storage(f"s3://{name}/runs/")
    s3._client.cache_clear()


@pytest.fixture
def new_ledger(memory_path):
    """Makes fresh searches, one a call."""
    numbers = itertools.count()
    return lambda: Ledger.create(memory_path, f"search-{next(numbers)}", "task: x\n", {"a": 1})


@pytest.fixture
def ledger(new_ledger):
    return new_ledger()


@pytest.fixture
def open_failing(memory_path, failing_storage):
    """A second view of a ledger, through a storage that fails."""

    def open_again(ledger, **arguments):
        return Ledger(failing_storage(LocalStorage(ledger.storage.uri), **arguments), ledger.name)

    return open_again


@pytest.fixture
def tiny_disk(tmp_path):
    """A real file system of one megabyte."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip(f"cannot mount a tmpfs here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def fill():
    """Fills a disk to the last byte; returns what gives the space back."""

    def fill_up(folder):
        ballast = folder / "ballast"
        with open(ballast, "wb", buffering=0) as file:
            for size in (65536, 4096, 1):
                try:
                    while True:
                        file.write(b"x" * size)
                except OSError:
                    pass
        return ballast.unlink

    return fill_up


@pytest.fixture
def temporaries():
    """The temporary files below a folder."""
    return lambda folder: list(Path(folder).rglob(".tmp-*"))
