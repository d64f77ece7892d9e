"""A PostgreSQL of one's own on the loopback device."""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def why_not() -> str:
    """What is missing for one here; empty if nothing is."""
    if any(shutil.which(name) is None for name in ("initdb", "pg_ctl", "runuser")):
        return "PostgreSQL is not installed"
    return ""


class Postgres:
    """A server, run by the user ``postgres`` because it refuses to be run by root.

    Args:
        folder: that user's, and empty.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self._do("initdb", "--username", "longhaul", "--auth", "trust", "-D", str(folder / "data"))
        self._address = f"longhaul@127.0.0.1:{self._port}/postgres"
        # SQLAlchemy 2.1 takes psycopg 3 where nothing is said.
        self.uri = f"postgresql+psycopg2://{self._address}"

    def start(self) -> None:
        """Waits until it answers."""
        own = f"-p {self._port} -c listen_addresses=127.0.0.1 -k {self._folder}"
        own += f" -c max_connections={CONNECTIONS} -c superuser_reserved_connections=0"
        self._control("start", "-l", str(self._folder / "log"), "-o", own)

    def stop(self) -> None:
        """At once, as if its machine had crashed."""
        self._control("stop", "-m", "immediate")

    @contextmanager
    def crowded(self) -> Iterator[None]:
        """Meanwhile it refuses everybody: there are too many connections."""
        import psycopg2

        held = []
        try:
            while len(held) < CONNECTIONS:
                held.append(psycopg2.connect(f"postgresql://{self._address}"))
        except psycopg2.OperationalError:
            pass  # others hold some, too
        try:
            yield
        finally:
            for one in held:
                one.close()

    def _control(self, *words: str) -> None:
        self._do("pg_ctl", "-D", str(self._folder / "data"), "-w", *words)

    def _do(self, program: str, *words: str) -> None:
        command = ["runuser", "-u", "postgres", "--", program, *words]
        subprocess.run(command, check=True, cwd="/", stdout=subprocess.DEVNULL)


CONNECTIONS = 20
"""That it takes at once."""


@contextmanager
def started(folder: Path) -> Iterator[Postgres]:
    """A server in a folder, which is created; ends with all its processes."""
    folder.mkdir()
    shutil.chown(folder, "postgres")
    server = Postgres(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()
