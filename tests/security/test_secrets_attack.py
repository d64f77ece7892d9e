"""Secrets around a search are in none of its outputs."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner

from longhaul.cli.main import main

pytestmark = [pytest.mark.timeout(600)]
NEEDLE = b"canary"


def found_in(texts: dict[str, bytes]) -> list[str]:
    return sorted(name for name, text in texts.items() if NEEDLE in text)


@pytest.mark.ray
@pytest.mark.attack(8, "every output of a search")
def test_no_output_of_a_search_has_a_secret_of_its_environment(watched):
    texts = watched.texts()
    assert found_in(texts) == []
    # The message of the failed trial is there, and so is each kind of output.
    told = [name for name, text in texts.items() if b"no answer from postgresql://***@" in text]
    for part in ("runs/space/trials/00001/error.txt", "mlflow.db", "error.txt"):
        assert any(part in name for name in told), (part, told)
    for part in ("runs/space/events", "mlflow-artifacts", "/logs/gcs_server", "/logs/worker-"):
        assert any(part in name for name in texts), part


@pytest.mark.ray
@pytest.mark.attack(8, "commands about a search")
def test_no_command_about_a_search_tells_a_secret(watched, monkeypatch, tmp_path):
    from_here = ["--storage", str(watched.storage)]
    report = tmp_path / "report.html"
    commands = [
        ["status", "space", "--json"],
        ["show", "space", "--json"],
        ["show", "space", "1", "--json"],
        ["best", "space", "--json"],
        ["list", "--json"],
        ["report", "space", "--output", str(report)],
    ]
    monkeypatch.setenv("CANARY_TOKEN", "canary-in-the-environment")
    for command in commands:
        done = CliRunner().invoke(main, [*command, *from_here])
        assert done.exit_code == 0, done.output
        assert "canary" not in done.output, command
    assert NEEDLE not in report.read_bytes()


@pytest.mark.attack(8, "secrets in a configuration")
@pytest.mark.parametrize(
    "change",
    [
        "description=see http://ada:canary@host/x",
        "description=password=canary",
        "description='Authorization: Bearer canary-canary'",
        "description=AWS_SECRET_ACCESS_KEY=canary",
        "task.protocol=http://ada:canary@host",
        "search.api_token=canary",
        "training.password=canary",
        "password=canary",
        "resources.token={value: canary}",
    ],
)
@pytest.mark.parametrize("given", ["an option", "a file"])
def test_a_configuration_with_a_secret_is_refused_without_telling_it(change, given, tmp_path):
    space = ["copying-quickstart", "--set", change]
    if given == "a file":
        import yaml

        path, _, text = change.partition("=")
        value = yaml.safe_load(text) if text[0] in "'{" else text
        content = {"task": {"name": "copying", "delay": 5}, "cell": {"name": "lstm"}}
        keys = path.split(".")
        inner = content
        for key in keys[:-1]:
            inner = inner.setdefault(key, {})
        inner[keys[-1]] = value
        file = tmp_path / "space.yaml"
        file.write_text(yaml.safe_dump(content), encoding="utf-8")
        space = [str(file)]
    done = CliRunner().invoke(main, ["search", *space, "--storage", str(tmp_path / "runs")])
    assert done.exit_code == 2, done.output
    assert len(done.output.splitlines()) == 1
    assert "canary" not in done.output
    assert not (tmp_path / "runs").exists()


@pytest.mark.attack(8, "errors that nobody expected")
def test_an_error_that_nobody_expected_is_told_without_its_secret(monkeypatch, tmp_path):
    def fails(*_: object) -> None:
        raise RuntimeError("cannot reach http://ada:canary@host, AWS_SECRET_ACCESS_KEY=canary")

    monkeypatch.setattr("longhaul.ledger.Ledger.names", fails)
    for words in (["list"], ["--debug", "list"]):
        done = CliRunner().invoke(main, [*words, "--storage", str(tmp_path)])
        assert done.exit_code == 1
        assert "cannot reach http://***@host" in done.output
        assert "canary" not in done.output


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(600)
@pytest.mark.attack(8, "the password in a server's address")
def test_a_password_in_the_address_of_the_server_is_told_to_the_server_alone(run_watched, tmp_path):
    heard = []
    with _server(tmp_path) as port:
        address = f"http://ada:canary-of-the-server@127.0.0.1:{port}"
        search = run_watched(MLFLOW_TRACKING_URI=address)
        assert search.status == 0, search.terminal
        address = f"http://127.0.0.1:{port}/api/2.0/mlflow/runs/search"
        body = json.dumps({"experiment_ids": ["1"]}).encode()
        request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            heard = json.load(answer)["runs"]
    assert len(heard) == 3
    assert "canary" not in json.dumps(heard)
    assert found_in(search.texts()) == []
    server = {str(one): one.read_bytes() for one in tmp_path.rglob("*") if one.is_file()}
    assert found_in(server) == []
    # Not on a command line either, which everybody on the machine can read.
    assert [one for one in search.watch.command_lines if "canary" in one] == []


class _server:  # noqa: N801 - used like a function
    """A server of MLflow that listens to everybody on this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> int:
        import socket

        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        words = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--workers", "1"]
        words += ["--port", str(port), "--backend-store-uri", f"sqlite:///{self.folder}/server.db"]
        words += ["--artifacts-destination", str(self.folder / "artifacts")]
        self.log = (self.folder / "log").open("wb")
        self.process = subprocess.Popen(
            words,
            env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
        )
        for _ in range(600):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                return port
            except OSError:
                assert self.process.poll() is None
                time.sleep(0.2)
        raise AssertionError("the server does not come up")

    def __exit__(self, *_: object) -> None:
        os.killpg(self.process.pid, 15)
        self.process.wait(30)
        self.log.close()
