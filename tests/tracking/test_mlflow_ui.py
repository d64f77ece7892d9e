"""The server of ``longhaul ui``, and what a browser shows of a search."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner

from longhaul.cli.main import main
from longhaul.errors import RequestError
from longhaul.tracking.connection import connect
from longhaul.tracking.follow import deliver_once
from longhaul.tracking.replay import Replay
from longhaul.tracking.server import check_port

CHROMIUM_OPTIONS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--window-size=1600,1300",
]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_server_has_an_address_already() -> None:
    result = CliRunner().invoke(main, ["ui", "--tracking-uri", "https://ada:canary@mlflow.example"])
    assert result.exit_code == 0
    assert result.stdout.strip() == "https://mlflow.example"


def test_a_taken_port_is_refused_with_a_free_one(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(RequestError, match=r"longhaul ui --port \d+"):
            check_port(port)
        uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
        result = CliRunner().invoke(main, ["ui", "--port", str(port), "--tracking-uri", uri])
    assert result.exit_code == 2
    assert f"port {port} cannot be used" in result.stderr


class Ui:
    """A running ``longhaul ui``."""

    def __init__(self, tracking_uri: str) -> None:
        self.port = free_port()
        words = [sys.executable, "-u", "-m", "longhaul", "ui", "--port", str(self.port)]
        self.process = subprocess.Popen(
            [*words, "--tracking-uri", tracking_uri],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.page = self.process.stdout.readline().strip()

    def end(self, number: int = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)


@pytest.fixture
def delivered(whole_search, tracking_uri):
    replay = Replay(whole_search.ledger, lambda: connect(tracking_uri), tracking_uri)
    return deliver_once(whole_search.ledger, replay, 10)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serves_on_loopback_and_leaves_nothing_behind(delivered, tracking_uri, number):
    ui = Ui(tracking_uri)
    try:
        address = f"http://127.0.0.1:{ui.port}"
        page = f"{address}/#/experiments/{delivered.experiment_id}/runs"
        assert ui.page == f"{page}?workflowType=machine_learning"
        with urllib.request.urlopen(f"{address}/version", timeout=20) as answer:
            assert answer.status == 200
        get = f"{address}/api/2.0/mlflow/experiments/get?experiment_id=1"
        request = urllib.request.Request(get, headers={"Host": "evil.example"})
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(request, timeout=20)
        listening = subprocess.run(
            ["ss", "-Hltn", f"sport = :{ui.port}"], capture_output=True, text=True, check=False
        ).stdout.split()
        assert not listening or f"127.0.0.1:{ui.port}" in listening
        (server,) = _children(ui.process.pid)
    finally:
        status = ui.end(number)
    assert status == 0
    assert not Path(f"/proc/{server}").exists()
    deadline = time.monotonic() + 10
    while True:  # the port is free again
        try:
            check_port(ui.port)
            return
        except RequestError:
            assert time.monotonic() < deadline
            time.sleep(0.2)


@pytest.mark.browser
@pytest.mark.timeout(1200)
def test_pages_show_the_search(delivered, tracking_uri, tmp_path):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    assert browser, "Chromium is not on the PATH"
    client = connect(tracking_uri)
    (best,) = client.search_runs(["1"], "tags.`longhaul.trial` = '0'")
    ui = Ui(tracking_uri)
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    print(f"pictures in {pictures}")
    runs = f"http://127.0.0.1:{ui.port}/#/experiments/1/runs"
    view = "?workflowType=machine_learning"
    pages = {
        "experiment": (ui.page, ["Model training", "copying", "toy", "matching runs"]),
        "parent": (
            f"{runs}/{delivered.parent_run_id}{view}",
            ["toy", "000 exprnn", "longhaul.spec_sha256", "times the trivial baseline", "Finished"],
        ),
        "child": (
            f"{runs}/{best.info.run_id}{view}",
            ["000 exprnn", "training.optimizer.learning_rate_log10", "valid/over_baseline"],
        ),
        "metrics": (
            f"{runs}/{best.info.run_id}/model-metrics{view}",
            ["000 exprnn", "gradient", "recurrent", "orthogonality_error"],
        ),
    }
    try:
        for name, (address, expected) in pages.items():
            # Twice: one call of Chromium makes either the picture or the text.
            target = pictures / f"{name}.png"
            _browse(browser, address, tmp_path / name, f"--screenshot={target}")
            shown = _browse(browser, address, tmp_path / name, "--dump-dom")
            missing = [words for words in expected if words not in shown]
            assert not missing, f"{name} lacks {missing}"
            assert target.stat().st_size > 20_000
    finally:
        ui.end()


def _browse(browser: str, address: str, profile: Path, action: str) -> str:
    words = [browser, *CHROMIUM_OPTIONS, f"--user-data-dir={profile}", action]
    words += ["--virtual-time-budget=200000", address]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=True)
    return done.stdout


def _children(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in path.read_text().split()] if os.path.exists(path) else []
