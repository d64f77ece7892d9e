"""What a search on a real cluster outlives, and who gets into it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from local_cluster import PATIENCE_S, started

ROOT = Path(__file__).parents[2]
STEPS = 1200
SETTINGS = {
    "task.delay": 10,
    "cell": "{name: lstm, hidden_size: 16, forget_bias: {uniform: [0, 3]}}",
    "training.steps": STEPS,
    "training.batch_size": 20,
    "training.evaluate_every": 100,
    "search.trials": 6,
    "search.retries": 3,
    "search.scheduler": "{name: asha, grace_steps: 400}",
}
CHANGES = [word for path, value in SETTINGS.items() for word in ("--set", f"{path}={value}")]
SPACE = "copying-quickstart"

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def cluster():
    with started() as running:
        yield running


def test_a_search_outlives_its_node_and_its_driver(cluster):
    submitted = json.loads(
        cluster.longhaul("submit", SPACE, "--name", "night", *CHANGES, "--json").stdout
    )
    assert submitted["begun"]
    joined = json.loads(
        cluster.longhaul("submit", SPACE, "--name", "night", *CHANGES, "--json").stdout
    )
    assert (joined["joined"], joined["job"]) == (True, "night")
    other = cluster.longhaul("submit", SPACE, "--name", "night", check=False)
    assert other.returncode == 2
    assert "another search called night" in other.stderr

    cluster.await_event("night", lambda one: one.kind == "reported")
    assert cluster.status("night")["state"] == "running"
    for pid in cluster.session("worker-1"):
        os.kill(pid, signal.SIGKILL)
    before = cluster.events("night")[-1].sequence
    # A trial of the dead node begins again on the other, or the other's go on: both are progress.
    cluster.await_event("night", lambda one: one.kind == "reported", after=before)
    cluster.await_event("night", lambda one: one.kind == "finished", after=before)
    os.kill(cluster.driver("night"), signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE_S
    while (told := cluster.status("night"))["job"]["status"] != "FAILED":
        assert time.monotonic() < deadline, told
        time.sleep(1)
    assert told["state"] == "interrupted"
    seen = cluster.events("night")

    resumed = json.loads(cluster.longhaul("resume", "night", "--json").stdout)
    assert resumed["job"] == "night~2"
    said = cluster.longhaul("logs", "-f", "night").stdout
    assert "search night: completed" in said
    assert cluster.events("night")[: len(seen)] == seen
    told = cluster.status("night")
    assert (told["state"], told["trials"]) == ("completed", 6)
    assert not told["counts"].get("failed")
    reproduced = json.loads(cluster.here("reproduce", "night", "--json").stdout)
    assert reproduced["verdict"] == "identical"
    assert json.loads(cluster.here("replay", "night", "--json").stdout)["verdict"] == "identical"


def test_stop_keeps_everything_and_resume_goes_on(cluster):
    cluster.longhaul("submit", SPACE, "--name", "calm", *CHANGES)
    cluster.await_event("calm", lambda one: one.kind == "reported")
    told = json.loads(cluster.longhaul("stop", "calm", "--json").stdout)
    assert told["job"]["status"] == "STOPPED"
    assert cluster.events("calm")[-1].kind == "interrupted"
    cluster.longhaul("resume", "calm")
    assert "search calm: completed" in cluster.longhaul("logs", "-f", "calm").stdout
    names = [
        one["name"] for one in json.loads(cluster.longhaul("list", "--json").stdout)["searches"]
    ]
    assert "calm" in names


def test_nobody_gets_in_without_the_token(cluster, tmp_path):
    wrong = tmp_path / "token"
    wrong.write_text("0" * 64, encoding="utf-8")
    wrong.chmod(0o600)
    # In another home folder all scans would be compiled once more.
    nowhere = {"HOME": str(tmp_path), "RAY_AUTH_TOKEN_PATH": "", "LONGHAUL_COMPILED_SCANS": "0"}
    head = f"127.0.0.1:{(cluster.folder / 'ports/ray').read_text()}"
    search = ("search", SPACE, "--address", head, "--storage", str(tmp_path / "runs"))
    for words in (("submit", SPACE), ("status", "night"), search):
        without = cluster.longhaul(*words, check=False, **nowhere)
        assert without.returncode == 2
        assert "asks for a token, and there is none here" in without.stderr
        refused = cluster.longhaul(*words, check=False, RAY_AUTH_TOKEN_PATH=str(wrong))
        assert refused.returncode == 2
        assert f"refuses the token from {wrong}" in refused.stderr
        assert "0" * 64 not in refused.stderr


def test_a_node_with_other_code_is_refused_before_anything_is_trained(cluster, tmp_path):
    for name in ("platform", "trainers"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "trainers/longhaul_trainers/seeds.py").open("a", encoding="utf-8") as file:
        file.write("# edited\n")
    edited = f"{tmp_path}/platform:{tmp_path}/trainers"
    node = subprocess.Popen(
        [ROOT / "infra/ray/start.sh", "worker", "--object-store-memory", "100000000"],
        env=os.environ
        | {
            "PYTHONPATH": edited,
            "PATH": f"{sys.prefix}/bin:{os.environ['PATH']}",
            "RAY_AUTH_TOKEN_PATH": str(cluster.token),
            "RAY_HEAD": f"127.0.0.1:{(cluster.folder / 'ports/ray').read_text()}",
            "RAY_NODE_IP": "127.0.0.9",
            "RAY_CPUS": "1",
            "RAY_METRICS_PORT": "0",
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + PATIENCE_S
        while "127.0.0.9" not in (said := cluster.longhaul(*refusable(), check=False).stderr):
            assert time.monotonic() < deadline, said
            time.sleep(1)
    finally:
        node.terminate()
        node.wait(60)
    assert "the driver and node" in said
    assert "the version is the same, but one was edited" in said
    assert not [one for one in cluster.events("other") if one.kind == "started"]


def refusable():
    """A search that is over in seconds while the node is not there yet."""
    return ("submit", SPACE, "--name", "other", "--trials", "1", "--set", "training.steps=5")
