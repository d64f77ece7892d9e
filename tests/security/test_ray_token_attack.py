"""Ray's token: who has it, who can read it, and what happens without it."""

import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from longhaul.cluster.token import find_token, refuse_exposed
from longhaul.errors import RequestError
from longhaul.search.driver import connected_to_ray
from longhaul.search.ray_access import LOOPBACK, private_ray

START = Path(__file__).parents[2] / "infra/ray/start.sh"
TOKEN_VARIABLES = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")


@pytest.mark.ray
@pytest.mark.timeout(600)
@pytest.mark.attack(2, "the token of a local search")
def test_the_token_of_a_local_search_is_its_users_alone_and_ends_with_it(watched):
    ((file, (mode, folder_mode, token)),) = watched.watch.token_files.items()
    assert (oct(mode), oct(folder_mode)) == ("0o600", "0o700")
    assert len(bytes.fromhex(token)) == 32
    assert not file.exists()
    assert not (watched.folder / "home/.ray/auth_token").exists()
    assert [line for line in watched.watch.command_lines if token in line] == []
    assert [name for name, text in watched.texts().items() if token.encode() in text] == []


@pytest.mark.attack(2, "a token file that others can read")
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o602])
def test_a_token_file_that_others_can_use_is_refused_with_the_fix(mode, tmp_path, monkeypatch):
    for name in TOKEN_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "home/.ray/auth_token"
    file.parent.mkdir(parents=True)
    file.write_text(secrets.token_hex(32), encoding="utf-8")
    file.chmod(mode)
    fix = f"chmod 600 {file}"
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(file))
    with pytest.raises(RequestError, match=fix), connected_to_ray("127.0.0.1:1"):
        raise AssertionError("the cluster would have been joined")
    with pytest.raises(RequestError, match=fix), private_ray():
        raise AssertionError("Ray would have been started")
    # The place where Ray looks without being told.
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with pytest.raises(RequestError, match=fix), connected_to_ray("127.0.0.1:1"):
        raise AssertionError("the cluster would have been joined")
    file.chmod(0o600)
    refuse_exposed(find_token())

    file.chmod(mode)
    words = {"RAY_AUTH_TOKEN_PATH": str(file), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [START, "head"], env=words, capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 2
    assert f"chmod 600 {file}" in done.stderr


@pytest.fixture(scope="module")
def head():
    """A head as every deployment starts it: its addresses, token and output."""
    with tempfile.TemporaryDirectory(prefix="lh-") as name:
        folder = Path(name)
        token = secrets.token_hex(32)
        (folder / "token").touch(0o600)
        (folder / "token").write_text(token, encoding="utf-8")
        port, metrics, dashboard, agent = (free_port() for _ in range(4))
        ours = {key: one for key, one in os.environ.items() if key not in TOKEN_VARIABLES}
        ours |= {
            "RAY_AUTH_TOKEN_PATH": str(folder / "token"),
            "RAY_TMPDIR": name,
            "RAY_PORT": str(port),
            "RAY_METRICS_PORT": str(metrics),
            "RAY_CPUS": "1",
            "HOME": name,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        # An agent that finds its usual port taken, by another Ray, takes no jobs.
        own = ["--dashboard-port", str(dashboard), "--dashboard-agent-listen-port", str(agent)]
        with (folder / "output").open("wb") as output:
            process = subprocess.Popen(
                [START, "head", *own],
                env=ours,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        found = Head(process, folder, ours, token, port, dashboard)
        try:
            found.await_dashboard()
            yield found
        finally:
            process.terminate()
            process.wait(60)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Head:
    def __init__(self, process, folder, environment, token, port, dashboard):
        self.process, self.folder, self.environment = process, folder, environment
        self.token, self.address = token, f"127.0.0.1:{port}"
        self.dashboard = f"http://127.0.0.1:{dashboard}"

    def await_dashboard(self):
        output = self.folder / "output"
        for _ in range(300):
            assert self.process.poll() is None, output.read_text(encoding="utf-8")
            if self.status("/api/version", self.token) == 200:
                return
            time.sleep(0.5)
        raise AssertionError(output.read_text(encoding="utf-8"))

    def status(self, path, token=None, data=None, method=None):
        headers = {"Content-Type": "application/json"}
        headers |= {} if token is None else {"Authorization": f"Bearer {token}"}
        request = urllib.request.Request(self.dashboard + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return None


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(600)
@pytest.mark.attack(2, "the job server without, with a wrong, and with the token")
def test_none_is_401_wrong_is_403_right_is_200(head):
    flag = head.folder / "executed"
    job = json.dumps({"entrypoint": f"touch {flag}"}).encode()
    wrong = secrets.token_hex(32)
    for path, data, method in (
        ("/api/jobs/", None, "GET"),
        ("/api/jobs/", job, "POST"),
        ("/nodes?view=summary", None, "GET"),
        ("/api/cluster_status", None, "GET"),
        ("/logical/actors", None, "GET"),
    ):
        assert head.status(path, None, data, method) == 401, (path, method)
        assert head.status(path, wrong, data, method) == 403, (path, method)
        if data is None:
            assert head.status(path, head.token, data, method) == 200, (path, method)
    assert not flag.exists()
    deadline = time.monotonic() + 150
    # A head that has just started has nobody yet to hand a job to, and says 500 until then.
    while (status := head.status("/api/jobs/", head.token, job, "POST")) == 500:
        assert time.monotonic() < deadline
        time.sleep(1)
    assert status == 200
    while not flag.exists():  # what the attack above would have done
        assert time.monotonic() < deadline
        time.sleep(0.5)


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(600)
@pytest.mark.attack(2, "joining the cluster without, with a wrong, and with the token")
def test_a_driver_joins_with_the_token_alone(head):
    code = f"import ray; ray.init({head.address!r}, logging_level='ERROR'); print('joined')"
    wrong = head.folder / "wrong"
    wrong.touch(0o600)
    wrong.write_text(secrets.token_hex(32), encoding="utf-8")
    mode = {"RAY_AUTH_MODE": "token"}
    attempts = {
        "none": {"RAY_AUTH_MODE": "disabled", "RAY_AUTH_TOKEN_PATH": ""},
        "wrong": mode | {"RAY_AUTH_TOKEN_PATH": str(wrong)},
        "right": mode,
    }
    # Ray tries twenty times, each for longer than this limit, whatever the reason.
    few = {"RAY_gcs_rpc_server_connect_timeout_s": "5", "RAY_NUM_REDIS_GET_RETRIES": "4"}
    few |= LOOPBACK  # or it would ask at an address where nobody listens
    joined = {}
    for name, words in attempts.items():
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=head.environment | few | words,
            capture_output=True,
            encoding="utf-8",
            timeout=200,
            check=False,
        )
        joined[name] = "joined" in done.stdout
        assert head.token not in done.stdout + done.stderr
    assert joined == {"none": False, "wrong": False, "right": True}


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(600)
@pytest.mark.attack(2, "the token in arguments and logs of a head")
def test_the_token_is_on_no_command_line_and_in_no_log(head, watch):
    eyes = watch(head.process.pid)
    for _ in range(4):
        eyes.look()
        time.sleep(0.5)
    assert any("gcs_server" in one for one in eyes.command_lines)
    assert [one for one in eyes.command_lines if head.token in one] == []
    files = [one for one in head.folder.rglob("*") if one.is_file() and one.name != "token"]
    assert any(one.name.startswith("gcs_server") for one in files)
    assert [one for one in files if head.token.encode() in one.read_bytes()] == []


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(600)
@pytest.mark.attack(3, "sockets of a head that stands alone")
def test_a_head_that_stands_alone_listens_on_the_loopback_device_alone(head, watch):
    eyes = watch(head.process.pid)
    for _ in range(4):
        eyes.look()
        time.sleep(0.5)
    assert [one for one in eyes.sockets if not one.is_private] == []
    assert any("gcs_server" in one.program for one in eyes.sockets)
