"""Backup while a search is unfinished, empty servers, restore, and the search goes on.

Needs PostgreSQL.
"""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
spec = importlib.util.spec_from_file_location("servers", Path(__file__).with_name("servers.py"))
servers = importlib.util.module_from_spec(spec)
spec.loader.exec_module(servers)

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.timeout(1500)]
SPACE = ["copying-quickstart", "--name", "drill", "--parallel", "1", "--trials", "3"]
SETTINGS = ["--set", "training.steps=60", "--set", "cell=lstm"]


@pytest.fixture(autouse=True)
def on_the_path(monkeypatch):
    if not servers.BINARIES:
        pytest.skip("needs PostgreSQL: apt-get install postgresql")
    here = str(Path(sys.executable).parent)
    monkeypatch.setenv("PATH", f"{here}:{servers.BINARIES[-1]}:{os.environ['PATH']}")


def longhaul(environment, *words, check=True):
    return subprocess.run(
        [sys.executable, "-m", "longhaul", *words],
        env={**os.environ, **environment},
        capture_output=True,
        encoding="utf-8",
        check=check,
    )


def interrupted_search(environment, storage):
    """Starts a search and ends it in order once its first trial is through."""
    words = [sys.executable, "-m", "longhaul", "search", *SPACE, *SETTINGS, "--storage", storage]
    search = subprocess.Popen(
        words, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    done = storage / "drill/trials/00000/result.json"
    while not done.exists():
        if search.poll() is not None:
            said = search.stdout.read().decode()
            # Ray gives itself half a minute to start, which a busy machine may not have.
            assert "Ray did not start" in said, said
            return interrupted_search(environment, storage)
        time.sleep(0.2)
    search.send_signal(signal.SIGTERM)
    said = search.communicate(timeout=300)[0].decode()
    assert search.returncode == 130, said
    return None


def runs(environment):
    """What MLflow shows: the state and the number of points of every trial's run."""
    code = """
import json
from mlflow import MlflowClient
client = MlflowClient()
ids = [one.experiment_id for one in client.search_experiments()]
found = client.search_runs(ids, max_results=100)
print(json.dumps({
    run.data.tags["longhaul.trial"]: [
        run.data.tags["longhaul.state"],
        len(client.get_metric_history(run.info.run_id, "valid/loss")),
    ]
    for run in found if "longhaul.trial" in run.data.tags
}))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def program(name, environment, *words):
    return subprocess.run(
        [sys.executable, ROOT / "infra/backup" / name, *words],
        env={**os.environ, **environment},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def files(folder):
    """Every file of a ledger but those of its owner, who is another afterwards."""
    return {
        str(one.relative_to(folder)): one.read_bytes()
        for one in folder.rglob("*")
        if one.is_file() and not any(part.startswith(".") for part in one.relative_to(folder).parts)
    }


def test_an_interrupted_search_goes_on_from_its_backup(tmp_path):
    artifacts = tmp_path / "artifacts"  # a bucket is kept by its own means
    storage, restored = tmp_path / "runs", tmp_path / "restored"
    with (
        servers.postgres(tmp_path / "first/db") as database,
        servers.tracking(tmp_path / "first/mlflow", database, artifacts) as client,
    ):
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(client["MLFLOW_TRACKING_URI"] + "/api/2.0/mlflow/users/get")
        interrupted_search(client, storage)
        before = runs(client)
        made = program("backup.py", database, storage, tmp_path / "backups")
        assert made.returncode == 0, made.stderr
    backup = Path(made.stdout.strip())

    with servers.postgres(tmp_path / "second/db") as database:
        done = program("restore.py", database, backup, restored)
        assert done.returncode == 0, done.stderr
        assert files(restored) == files(storage)
        again = program("restore.py", database, backup, restored)
        assert again.returncode == 2
        assert "is not empty" in again.stderr
        again = program("restore.py", database, backup, tmp_path / "third")
        assert again.returncode == 2
        assert "the database is not empty" in again.stderr
        with servers.tracking(tmp_path / "second/mlflow", database, artifacts) as client:
            assert runs(client) == before
            longhaul(client, "resume", "drill", "--storage", restored)
            told = longhaul(client, "status", "drill", "--storage", restored, "--json")
            after = runs(client)
    assert json.loads(told.stdout)["state"] == "completed"
    assert sorted(after) == ["0", "1", "2"]
    assert after["0"] == before["0"]
    assert {state for state, _ in after.values()} <= {"completed", "stopped"}


def test_a_damaged_backup_is_refused(tmp_path):
    storage = tmp_path / "runs"
    (storage / "one").mkdir(parents=True)
    (storage / "one/spec.yaml").write_text("a: 1\n", encoding="utf-8")
    made = program("backup.py", {"PGDATABASE": ""}, storage, tmp_path / "backups")
    assert made.returncode == 0, made.stderr
    backup = Path(made.stdout.strip())
    assert (backup / "ledger.tar").stat().st_mode & 0o077 == 0
    with (backup / "ledger.tar").open("r+b") as stream:
        stream.seek(600)
        stream.write(b"x")
    done = program("restore.py", {}, backup, tmp_path / "restored")
    assert done.returncode == 2
    assert "is damaged" in done.stderr
    assert not (tmp_path / "restored").exists()
    (backup / "manifest.json").unlink()
    assert "is no whole backup" in program("restore.py", {}, backup, tmp_path / "r").stderr
