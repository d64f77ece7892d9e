"""A real cluster on this machine, as infra/local-cluster.sh starts it, and what is done to it."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from longhaul.ledger import Event, Ledger, UnknownSearchError

SCRIPT = Path(__file__).parents[2] / "infra/local-cluster.sh"
PATIENCE_S = 600


class LocalCluster:
    """One that was started by the script.

    Attributes:
        folder: where it keeps everything.
        address: the dashboard's.
        token: the file that lets commands in.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = f"http://127.0.0.1:{(folder / 'ports/dashboard').read_text()}"
        self.token = folder / "secrets/ray_token"

    def longhaul(
        self, *words: str, check: bool = True, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """A command on a machine that only reaches the dashboard."""
        ours = {name: value for name, value in os.environ.items() if "RAY" not in name}
        ours |= {"LONGHAUL_CLUSTER": self.address, "RAY_AUTH_TOKEN_PATH": str(self.token)}
        done = subprocess.run(
            [sys.executable, "-P", "-m", "longhaul", *words],
            env=ours | environment,
            cwd=self.folder,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        assert done.returncode == 0 or not check, done.stdout + done.stderr
        return done

    def here(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command on a machine that sees the storage."""
        storage = ("--storage", str(self.folder / "runs"))
        return self.longhaul(*words, *storage, LONGHAUL_CLUSTER="")

    def status(self, name: str) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.longhaul("status", name, "--json").stdout)
        return told

    def events(self, name: str) -> list[Event]:
        """A search's events so far; none before it has a ledger."""
        try:
            return Ledger.open(self.folder / "runs", name).events()
        except UnknownSearchError:
            return []

    def await_event(self, name: str, wanted: Callable[[Event], bool], after: int = -1) -> Event:
        """The first such event of a search behind another."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            for event in self.events(name):
                if event.sequence > after and wanted(event):
                    return event
            time.sleep(0.3)
        raise AssertionError(self.longhaul("logs", name, check=False).stdout)

    def session(self, part: str) -> list[int]:
        """The processes that a part of the cluster consists of."""
        first = (self.folder / "pids" / part).read_text().split()[0]
        listed = subprocess.run(["ps", "-o", "pid=", "-s", first], stdout=-1, check=False).stdout
        return [int(pid) for pid in listed.split()]

    def driver(self, job: str) -> int:
        """The process of a search's driver."""
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                variables = (entry / "environ").read_bytes()
            except OSError:
                continue
            if b"longhaul.cluster.on_head" in words and f'"{job}"'.encode() in variables:
                return int(entry.name)
        raise AssertionError(f"no driver of {job}")


@contextmanager
def started(*options: str) -> Iterator[LocalCluster]:
    """A cluster that is taken down with all its processes; without PostgreSQL where there is none.

    Args:
        options: of the script's ``up``.
    """
    folder = Path(tempfile.mkdtemp(prefix="lhc-", dir="/tmp"))  # sockets want short names
    if not list(Path("/usr/lib/postgresql").glob("*/bin")):
        options = (*options, "--without", "postgres")
    try:
        _script("up", str(folder), *options)
        yield LocalCluster(folder)
    finally:
        _script("down", str(folder))
        left = list((folder / "pids").glob("*"))
        shutil.rmtree(folder)
        assert not left


def _script(*words: str) -> None:
    done = subprocess.run(
        [SCRIPT, *words],
        env={**os.environ, "LONGHAUL_VENV": str(Path(sys.prefix))},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
