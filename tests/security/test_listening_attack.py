"""Who can reach what a search and the user interface start."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest
from click.testing import CliRunner

from longhaul.cli.main import main
from longhaul.tracking.connection import connect


@pytest.mark.ray
@pytest.mark.timeout(600)
@pytest.mark.attack(1, "sockets of a local search")
def test_a_search_listens_on_the_loopback_device_alone(watched):
    found = watched.watch.sockets
    assert [one for one in found if not one.is_private] == []
    # Ray's own servers were among what was seen.
    for program in ("gcs_server", "raylet/raylet"):
        assert any(program in one.program for one in found), sorted(found)


@pytest.mark.attack(1, "a public user interface")
@pytest.mark.parametrize(
    "host",
    ["0.0.0.0", "::", "", "*", "192.0.2.7", "example.org", "127.0.0.1.example.org", "[::]", "0"],
)
def test_a_public_user_interface_is_refused_with_the_ways_out(host, tmp_path):
    words = ["ui", "--host", host, "--tracking-uri", f"sqlite:///{tmp_path}/mlflow.db"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: host {host}: ")
    assert "ssh -L" in line
    assert "infra/tracking/serve.sh" in line
    assert not list(tmp_path.iterdir())


@pytest.fixture
def ui(tmp_path):
    """A running ``longhaul ui`` in an environment that asks for the opposite: its port, its pid."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    connect(uri)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    careless = {
        "MLFLOW_HOST": "0.0.0.0",
        "MLFLOW_SERVER_ALLOWED_HOSTS": "*",
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": "*",
        "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE": "true",
        "MLFLOW_SERVER_X_FRAME_OPTIONS": "NONE",
        "FORWARDED_ALLOW_IPS": "*",
    }
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "longhaul", "ui", "--port", str(port), "--tracking-uri", uri],
        env=os.environ | careless,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    assert process.stdout.readline().startswith(f"http://127.0.0.1:{port}/")
    yield port, process.pid
    process.send_signal(signal.SIGINT)
    process.wait(60)
    process.stdout.close()


def answer(port, path, data=None, **headers):
    """Status and headers of an answer."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    address = f"http://127.0.0.1:{port}{path}"
    request = urllib.request.Request(address, data, named | {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as found:
            return found.status, found.headers
    except urllib.error.HTTPError as error:
        return error.code, error.headers


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.attack(1, "the user interface, by name and from other sites")
def test_the_user_interface_answers_this_machine_and_its_own_pages_alone(ui, watch):
    port, pid = ui
    eyes = watch(pid)
    for _ in range(3):
        eyes.look()
        time.sleep(0.5)
    assert [one for one in eyes.sockets if not one.is_private] == []
    assert port in {one.port for one in eyes.sockets}

    search, body = "/api/2.0/mlflow/experiments/search", b'{"max_results": 5}'
    create, made = "/api/2.0/mlflow/experiments/create", b'{"name": "made-by-another-site"}'
    assert answer(port, search, body)[0] == 200
    for host in ("evil.example", f"evil.example:{port}", "192.168.0.7", "10.0.0.1"):
        assert answer(port, search, body, Host=host)[0] == 403, host
    for origin in ("http://evil.example", "null", "https://127.0.0.1.evil.example"):
        assert answer(port, create, made, Origin=origin)[0] == 403, origin
        headers = answer(port, search, body, Origin=f"http://127.0.0.1:{port}")[1]
        assert headers.get("Access-Control-Allow-Origin") != "*"
    assert answer(port, "/")[1]["X-Frame-Options"] == "DENY"
