"""For the tests of MLflow tracking: a database copied from a ready one, a server, a bad network."""

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def ready_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with all its tables: to make them takes seconds."""
    from longhaul.tracking.connection import connect

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    connect(f"sqlite:///{path}")
    return path


@pytest.fixture
def tracking_uri(ready_database: Path, tmp_path: Path) -> str:
    copy = tmp_path / "mlflow.db"
    shutil.copy(ready_database, copy)
    return f"sqlite:///{copy}"


@pytest.fixture(autouse=True)
def _cheap_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes most of the time of a replay; tests/report looks at the pictures."""

    def draw(history: object, trial: object, baseline: object, path: Path) -> None:
        path.write_bytes(b"picture")

    monkeypatch.setattr("longhaul.report.curves.trial_picture", draw)


@pytest.fixture
def new_mlflow_server(ready_database: Path, tmp_path: Path) -> Iterator[Callable[..., "Server"]]:
    """A server of one's own, on the database of this address or on SQLite."""
    servers: list[Server] = []

    def start(backend: str = "") -> Server:
        servers.append(Server(ready_database, tmp_path, backend))
        servers[-1].start()
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def mlflow_server(new_mlflow_server: Callable[..., "Server"]) -> "Server":
    return new_mlflow_server()


class Server:
    """A real MLflow server on the loopback device, which can be killed and started again.

    Args:
        ready_database: copied for it, unless it has one already.
        folder: for what it writes.
        backend: address of the database that it uses instead.
    """

    def __init__(self, ready_database: Path, folder: Path, backend: str = "") -> None:
        self.database = folder / "server.db"
        if not self.database.exists():
            shutil.copy(ready_database, self.database)
        self._backend = backend or f"sqlite:///{self.database}"
        self.artifacts = folder / "server-artifacts"
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self._log = folder / "server.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        words = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"]
        words += ["--port", str(self.port), "--workers", "1"]
        words += ["--backend-store-uri", self._backend]
        words += ["--artifacts-destination", str(self.artifacts)]
        environment = os.environ | {
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                words, stdout=log, stderr=log, env=environment, start_new_session=True
            )
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"{self.uri}/health", timeout=2).close()
                return
            except OSError:
                assert self._process.poll() is None, self._log.read_text()
                time.sleep(0.2)
        raise AssertionError(self._log.read_text())

    def stop(self) -> None:
        """Kills it with all its workers."""
        if self._process is not None:
            os.killpg(self._process.pid, 9)
            self._process.wait()
            self._process = None


Fault = Callable[[str, str], str]
"""Given method and path of a request: ``pass``, ``before``, ``busy``, ``after``, ``hang``,
``cut`` or ``late``."""


class FaultProxy:
    """Stands before a server and spoils requests: 500 before or after they were carried out, 429,
    no answer for a while after, a connection that is cut after, or work that is done later."""

    def __init__(self, target: str, hang_s: float = 6.0) -> None:
        self.fault: Fault = lambda method, path: "pass"
        self.delay_s = 0.0
        self.seen: Counter[str] = Counter()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length)
                fault = proxy.fault(self.command, self.path)
                proxy.seen[fault] += 1
                time.sleep(proxy.delay_s)
                if fault == "before":
                    return self._answer(500, b"spoilt before", {})
                if fault == "busy":
                    return self._answer(429, b"too many requests", {})
                if fault == "late":
                    threading.Timer(hang_s / 2, self._forward, [body]).start()
                    time.sleep(hang_s)
                    self.close_connection = True
                    return None
                status, answer, headers = self._forward(body)
                if fault == "hang":
                    time.sleep(hang_s)
                if fault in ("hang", "cut"):
                    self.close_connection = True
                    return None
                if fault == "after":
                    return self._answer(500, b"spoilt after", {})
                return self._answer(status, answer, headers)

            def _forward(self, body: bytes) -> tuple[int, bytes, dict[str, str]]:
                drop = ("host", "connection", "content-length", "accept-encoding")
                headers = {k: v for k, v in self.headers.items() if k.lower() not in drop}
                request = urllib.request.Request(
                    target + self.path, body or None, headers, method=self.command
                )
                try:
                    with urllib.request.urlopen(request, timeout=60) as answer:
                        kind = answer.headers.get("Content-Type", "")
                        return answer.status, answer.read(), {"Content-Type": kind}
                except urllib.error.HTTPError as error:
                    return error.code, error.read(), {"Content-Type": "application/json"}
                except OSError as error:
                    return 502, str(error).encode(), {}

            def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            setattr(Handler, f"do_{method}", Handler._serve)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.uri = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def fault_proxy(mlflow_server: Server) -> Iterator[FaultProxy]:
    proxy = FaultProxy(mlflow_server.uri)
    yield proxy
    proxy.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
