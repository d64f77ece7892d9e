"""A stand-in for a head's dashboard, which runs a job's entry point as a process, or not at all."""

import io
import json
import os
import re
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

LEADING_ELSEWHERE = (
    *("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE", "RAY_ADDRESS"),
    *("LONGHAUL_CLUSTER", "LONGHAUL_STORAGE", "MLFLOW_TRACKING_URI"),
)


@dataclass
class StandIn:
    """The Jobs API of one cluster.

    Attributes:
        token: what it lets in; None for everybody.
        ray: the version that it says it has.
        jobs: what was submitted, by id, as the API tells it.
        logs: what each job has said.
        packages: what was uploaded: names and contents of files by address.
        drive: what becomes of a job when it is submitted; by default it runs on for ever.
    """

    folder: Path
    token: str | None = None
    ray: str = field(default_factory=lambda: version("ray"))
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    logs: dict[str, str] = field(default_factory=dict)
    packages: dict[str, dict[str, bytes]] = field(default_factory=dict)
    drive: Callable[[dict[str, Any]], None] = lambda _job: None
    address: str = ""

    def begins(self, job: dict[str, Any]) -> None:
        """A driver that finds nothing wrong."""
        self.logs[job["submission_id"]] += "training on 2 nodes: 4 CPU, 0 GPU\n"

    def refuses(self, words: str) -> Callable[[dict[str, Any]], None]:
        """A driver that finds something wrong."""

        def drive(job: dict[str, Any]) -> None:
            self.logs[job["submission_id"]] += f"error: {words}\n"
            job |= {"status": "FAILED", "driver_exit_code": 2}

        return drive

    def runs(self, **environment: str) -> Callable[[dict[str, Any]], None]:
        """Runs the entry point as the head would, with these variables."""

        def drive(job: dict[str, Any]) -> None:
            here = self.folder / job["submission_id"]
            here.mkdir()
            for name, content in self.content(job).items():
                (here / name).parent.mkdir(parents=True, exist_ok=True)
                (here / name).write_bytes(content)
            path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
            done = subprocess.run(
                ["sh", "-c", job["entrypoint"]],
                cwd=here,
                env={**os.environ, "PATH": path, **job["runtime_env"]["env_vars"], **environment},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                check=False,
            )
            self.logs[job["submission_id"]] += done.stdout
            job["driver_exit_code"] = done.returncode
            job["status"] = "FAILED" if done.returncode else "SUCCEEDED"

        return drive

    def content(self, job: dict[str, Any]) -> dict[str, bytes]:
        """The files that were uploaded for a job."""
        folder = job["runtime_env"].get("working_dir")
        return {} if folder is None else self.packages[folder.removeprefix("gcs://")]

    def add(self, name: str, status: str, spec: str, exit_status: int | None = None) -> None:
        """A job of a search that was submitted before."""
        metadata = {"longhaul.search": name, "longhaul.spec": spec}
        self.submit({"submission_id": name, "entrypoint": "", "metadata": metadata}, run=False)
        self.jobs[name] |= {"status": status, "driver_exit_code": exit_status}

    def submit(self, asked: dict[str, Any], *, run: bool = True) -> bool:
        job_id = asked["submission_id"]
        if job_id in self.jobs:
            return False
        job = {"runtime_env": {}, "metadata": {}, "driver_exit_code": None, "message": ""} | asked
        job |= {"type": "SUBMISSION", "status": "RUNNING", "start_time": int(time.time() * 1000)}
        self.jobs[job_id] = job
        self.logs[job_id] = f"Running entrypoint for job {job_id}: {job['entrypoint']}\n"
        if run:
            self.drive(job)
        return True

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        """Status and content of an answer."""
        words = path.strip("/").split("/")[1:]
        if words == ["version"]:
            told = {"version": "4", "ray_version": self.ray, "ray_commit": "", "session_name": ""}
            return 200, told
        if words[0] == "packages":
            return self._package(method, "/".join(words[2:]), body)
        if words == ["jobs"] and method == "GET":
            return 200, list(self.jobs.values())
        if words == ["jobs"]:
            asked = json.loads(body)
            if self.submit(asked):
                return 200, {"job_id": "x", "submission_id": asked["submission_id"]}
            return 500, f"Traceback\nValueError: Job with submission_id {asked} already exists."
        job = self.jobs.get(words[1])
        if job is None:
            return 404, f"Job {words[1]} does not exist"
        if method == "DELETE":
            del self.jobs[words[1]]
            return 200, {"deleted": True}
        if words[2:] == ["stop"]:
            job["status"] = "STOPPED"
            return 200, {"stopped": True}
        return 200, {"logs": self.logs[words[1]]} if words[2:] else job

    def _package(self, method: str, name: str, body: bytes) -> tuple[int, Any]:
        if method == "GET":
            return (200 if name in self.packages else 404), ""
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            self.packages[name] = {
                one.filename: archive.read(one) for one in archive.infolist() if not one.is_dir()
            }
        return 200, ""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """A cluster that is none; nothing of this machine's own leads elsewhere."""
    for name in LEADING_ELSEWHERE:
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    folder = tmp_path / "head"
    folder.mkdir()
    cluster = StandIn(folder)

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            shown = re.sub("^Bearer ", "", self.headers.get("Authorization", ""))
            if cluster.token not in (None, shown):
                status, told = (403 if shown else 401), "not you"
            else:
                status, told = cluster.answer(self.command, self.path, body)
            content = (told if isinstance(told, str) else json.dumps(told)).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    cluster.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield cluster
    server.shutdown()
    server.server_close()
