"""A tracking server that dies under a running search, comes back, and dies again."""

import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request

import pytest

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(1800)]

TRIALS = 8


class Server:
    """`mlflow server` on the loopback device."""

    def __init__(self, database, folder):
        self.folder = folder
        self.database = folder / "server.db"
        shutil.copy(database, self.database)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self.popen = None

    def start(self):
        words = ["--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        words += ["--backend-store-uri", f"sqlite:///{self.database}"]
        words += ["--artifacts-destination", str(self.folder / "artifacts")]
        settings = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "DO_NOT_TRACK": "true"}
        with (self.folder / "server.log").open("ab") as log:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server", *words],
                env=os.environ | settings,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + 240
        while True:
            try:
                urllib.request.urlopen(f"{self.uri}/health", timeout=5).close()
                return
            except OSError:
                assert self.popen.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.2)

    def kill(self):
        if self.popen is not None:
            os.killpg(self.popen.pid, 9)
            self.popen.wait()
            self.popen = None

    def runs(self):
        with sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=30) as database:
            return database.execute("select count(*) from runs").fetchone()[0]

    def await_runs(self, count, driver):
        deadline = time.monotonic() + 240
        while self.runs() < count:
            assert driver.running, driver.stderr
            assert time.monotonic() < deadline, driver.stderr
            time.sleep(0.2)


@pytest.fixture
def server(empty_mlflow, tmp_path):
    server = Server(empty_mlflow, tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.mark.fault(
    "mlflow-dead",
    "SIGKILL of the server under a whole search, started, killed again for good",
)
def test_a_search_is_not_held_up_and_what_is_missing_comes_later_once(
    new_project, server, content_of, equals_ledger
):
    project = new_project()
    cell = {"name": "slow_lstm", "hidden_size": 8, "wait_s": 0.05}
    cell["forget_bias"] = {"uniform": [0, 3]}
    full = {"trials": TRIALS, "scheduler": "full"}
    space = project.space("orphan", cell=cell, search=full)
    driver = project.start("search", space, "--json", "--tracking-uri", server.uri)

    def trials_end(count):
        for _ in range(count):
            project.await_witness(driver, lambda one: one.get("kind") == "finished")

    project.await_witness(driver, lambda one: "row" in one)
    with project.held():
        server.await_runs(2, driver)
    server.kill()
    trials_end(2)
    with project.held():
        before = server.runs()
        server.start()
        server.await_runs(before + 1, driver)
    trials_end(1)
    server.kill()
    assert driver.wait() == 0, driver.stderr
    assert driver.json()["state"] == "completed"
    assert driver.stderr.count("longhaul sync orphan") == 1
    assert "Traceback" not in driver.stderr
    ledger = project.ledger("orphan")
    assert ledger.record().counts()["completed"] == TRIALS
    server.start()
    delivered = project.run("sync", "orphan", "--tracking-uri", server.uri)
    assert delivered.popen.returncode == 0, delivered.stderr
    content = content_of(server.uri)
    assert len(content) == TRIALS + 1
    equals_ledger(content, ledger)
