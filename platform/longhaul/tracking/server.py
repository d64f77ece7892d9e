"""MLflow's own server, run on the loopback device for one person."""

import contextlib
import ipaddress
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit, urlunsplit

from longhaul.errors import LonghaulError, RequestError
from longhaul.redaction import redact
from longhaul.spec.document import printable
from longhaul.tracking.connection import (
    artifact_root,
    check_address,
    connect,
    is_server,
    sqlite_file,
)

HOST = "127.0.0.1"
START_S = 120.0

# Otherwise MLflow's pages are those for language models until somebody finds the switch.
_VIEW = "workflowType=machine_learning"


class Server:
    """An MLflow server in a process group of its own.

    Args:
        tracking_uri: the database it serves.
        port: where it listens.
        host: the same; an address of the loopback device.

    Raises:
        RequestError: others could reach it there.
    """

    def __init__(self, tracking_uri: str, port: int, host: str = HOST) -> None:
        check_host(host)
        self.address = f"http://{host}:{port}"
        self._host = host
        self._port = port
        self._uri = tracking_uri
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it and waits until it answers.

        Raises:
            RequestError: the port is taken.
            LonghaulError: it ended, or does not answer.
        """
        check_port(self._port, self._host)
        database = sqlite_file(self._uri)
        words = [sys.executable, "-P", "-m", "mlflow", "server", "--host", self._host]
        words += ["--port", str(self._port), "--workers", "1"]
        # Said here whatever the environment says: pages of other sites must not get at it.
        words += ["--allowed-hosts", f"{self._host}:{self._port},localhost:{self._port}"]
        words += ["--cors-allowed-origins", self.address, "--x-frame-options", "DENY"]
        if database is not None:
            connect(self._uri)  # makes the tables, if need be, one process at a time
            words += ["--artifacts-destination", str(artifact_root(database))]
        environment = os.environ | {
            # The address may hold a password, and arguments can be read by everybody.
            "MLFLOW_BACKEND_STORE_URI": self._uri,
            # Eight helper processes of 225 MB each, for features that Longhaul does not use.
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE": "false",
            "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "DO_NOT_TRACK": "true",
        }
        self._process = subprocess.Popen(  # noqa: S603 - MLflow's own program
            words,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._drain_errors(self._process)
        self._await_answer()

    def wait(self) -> int:
        """Waits until the server ends by itself; its exit status."""
        return self._process.wait() if self._process else 0

    def stop(self) -> None:
        """Ends the whole process group, by force after a few seconds."""
        process, self._process = self._process, None
        if process is None:
            return
        for number, patience_s in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(patience_s)
            if not _group_lives(process.pid):
                return

    def _drain_errors(self, process: subprocess.Popen[bytes]) -> None:
        """Keeps the last lines of the server's messages, for when it does not come up."""
        self._last: list[str] = []

        def read() -> None:
            for line in process.stderr or ():
                self._last = [*self._last[-14:], redact(line.decode(errors="replace"))]

        threading.Thread(target=read, daemon=True).start()

    def _await_answer(self) -> None:
        assert self._process is not None  # noqa: S101 - started above
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise LonghaulError(f"MLflow's server ended at once:\n{''.join(self._last)}")
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{self.address}/health", timeout=2).close()  # noqa: S310
                return
            time.sleep(0.2)
        raise LonghaulError(f"MLflow's server does not answer at {self.address}")


def show(tracking_uri: str, port: int, say: Callable[[str], None], host: str = HOST) -> int:
    """``longhaul ui``: runs a server until Ctrl-C, or tells the address of the one there is.

    Args:
        tracking_uri: a server or a database.
        port: for a database's server.
        say: prints a line.
        host: for a database's server; an address of the loopback device.

    Returns:
        The exit status: 0 after Ctrl-C.

    Raises:
        RequestError: the address or the port cannot be used.
        LonghaulError: the server does not come up.
    """
    check_address(tracking_uri)
    if is_server(tracking_uri):
        say(_without_userinfo(tracking_uri))
        return 0
    server = Server(tracking_uri, port, host)
    with _ended_by_signals():
        try:
            server.start()
            say(experiment_page(server.address))
            say("Ctrl-C ends it.")
            return server.wait()
        except KeyboardInterrupt:
            return 0
        finally:
            server.stop()


def experiment_page(address: str) -> str:
    """The page of the experiment that changed last, or of all experiments if there is none."""
    body = json.dumps({"max_results": 100, "order_by": ["last_update_time DESC"]}).encode()
    request = urllib.request.Request(  # noqa: S310 - our own server
        f"{address}/api/2.0/mlflow/experiments/search",
        body,
        {"Content-Type": "application/json"},
    )
    with contextlib.suppress(OSError, ValueError):
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
            found = json.load(answer).get("experiments", [])
        for experiment in found:
            if experiment.get("name") != "Default":
                return f"{address}/#/experiments/{experiment['experiment_id']}/runs?{_VIEW}"
    return f"{address}/#/experiments"


def check_host(host: str) -> None:
    """Refuses an address at which others could reach a server that asks for no password.

    Raises:
        RequestError: with the ways in which others can see the searches.
    """
    with contextlib.suppress(ValueError):
        if host == "localhost" or ipaddress.IPv4Address(host).is_loopback:
            return
    raise RequestError(
        f"host {printable(host)}: `longhaul ui` asks nobody for a password, so it listens on "
        f"{HOST} alone. From another machine: ssh -L 5000:{HOST}:5000 THIS-MACHINE. For several "
        "people: infra/tracking/serve.sh, a server with passwords (docs/deployment.md)"
    )


def check_port(port: int, host: str = HOST) -> None:
    """Refuses a port that somebody listens on.

    Raises:
        RequestError: with a free one.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            return
        except OSError as error:
            reason = error.strerror
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        free = probe.getsockname()[1]
    raise RequestError(
        f"port {port} cannot be used ({reason}); perhaps a `longhaul ui` runs already. "
        f"Open http://{host}:{port}, or choose another port: longhaul ui --port {free}"
    )


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Makes SIGTERM end the block as Ctrl-C does, so that the server is not left behind.

    SIGINT too: a shell starts a command in the background with it ignored.
    """

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {one: signal.signal(one, interrupt) for one in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    # What is left may be dead already and only waits to be collected by init.
    return any(_in_group(status, group) for status in Path("/proc").glob("[0-9]*/stat"))


def _in_group(status: Path, group: int) -> bool:
    try:
        state, _parent, of_group = status.read_text(encoding="utf-8").rpartition(")")[2].split()[:3]
    except (OSError, ValueError):
        return False
    return int(of_group) == group and state != "Z"


def _without_userinfo(address: str) -> str:
    parts = urlsplit(address)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
