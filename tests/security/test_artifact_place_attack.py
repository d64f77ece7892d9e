"""MLflow names a place for artifacts; whoever may write to MLflow may have chosen it."""

import json
import os
import shutil
from pathlib import Path

import pytest

from longhaul.errors import RequestError
from longhaul.reproduce import recorded_in_mlflow
from longhaul.tracking.connection import (
    ForeignArtifactsError,
    artifact_root,
    check_artifact_location,
    connect,
    sqlite_file,
)
from longhaul.tracking.follow import deliver_once
from longhaul.tracking.replay import Replay
from longhaul.tracking.retry import Backoff

pytestmark = pytest.mark.attack(9, "an experiment whose artifacts go elsewhere")
FOREIGN = [
    "file:///etc",
    "file:///proc/self/root/tmp",
    "file://host/share",
    "/etc/longhaul",
    "../x",
    "relative/x",
    "",
    "mlflow-artifacts:/../../etc",
    "mlflow-artifacts:/%2e%2e/%2e%2e/etc",
    "mlflow-artifacts:/%252e%252e/%252e%252e/etc",
    "mlflow-artifacts:/..\\..\\etc",
    "mlflow-artifacts://evil.example/x",
    "mlflow-artifacts://127.0.0.1:5000@evil.example/x",
    "s3://somebody-elses-bucket/x",
    "gs://bucket/x",
    "http://evil.example/x",
    "ftp://evil.example/x",
    "dbfs:/x",
    "hdfs://host/x",
    "runs:/0/x",
    "models:/x/1",
    "sqlite:////etc/x",
]


@pytest.mark.parametrize("location", FOREIGN)
@pytest.mark.parametrize(
    "tracking_uri", ["http://127.0.0.1:5000", "sqlite:////srv/runs/mlflow.db", "postgresql://h/db"]
)
def test_a_foreign_place_is_refused_with_the_way_to_allow_it(location, tracking_uri, monkeypatch):
    monkeypatch.setenv("LONGHAUL_ARTIFACTS", "s3://ours")
    with pytest.raises(ForeignArtifactsError, match="LONGHAUL_ARTIFACTS="):
        check_artifact_location(tracking_uri, location, "experiment 'copying'")


@pytest.mark.parametrize("location", ["s3://ours-not", "s3://ours/../theirs", "s3://ours/%2e%2e/x"])
def test_what_is_allowed_allows_nothing_beside_it(location, monkeypatch):
    monkeypatch.setenv("LONGHAUL_ARTIFACTS", "s3://ours")
    check_artifact_location("http://h", "s3://ours/1", "experiment 'copying'")
    with pytest.raises(ForeignArtifactsError):
        check_artifact_location("http://h", location, "experiment 'copying'")


@pytest.fixture
def database(watched, tmp_path) -> str:
    """A database of MLflow's with its tables, beside nothing."""
    (tmp_path / "mlflow").mkdir()
    shutil.copy(watched.folder / "mlflow.db", tmp_path / "mlflow")
    return f"sqlite:///{tmp_path}/mlflow/mlflow.db"


@pytest.mark.ray
@pytest.mark.timeout(600)
def test_nothing_is_written_to_a_foreign_place(database, new_search, tmp_path):
    place = tmp_path / "precious"
    place.mkdir()
    search = new_search()
    search.suggest(0, task={"name": "digits"})
    search.start(0)
    search.train(0, 100)
    search.stop(0)
    search.give_up()
    for location in (f"file://{place}", str(place), "s3://somebody-elses-bucket/x"):
        client = connect(database)
        found = client.get_experiment_by_name("copying")
        client.rename_experiment(found.experiment_id, f"before {location}")
        client.create_experiment("copying", artifact_location=location)
        replay = Replay(search.ledger, lambda: connect(database), database)
        lag = deliver_once(search.ledger, replay, 0.1, backoff=Backoff(0.01, 0.02))
        assert not lag.delivered
        assert "LONGHAUL_ARTIFACTS=" in lag.error
        assert list(place.iterdir()) == []


@pytest.mark.ray
@pytest.mark.timeout(600)
@pytest.mark.parametrize("task", ["../../escaped", "..", "/etc/longhaul", "a/../../escaped"])
def test_a_task_whose_name_is_a_path_is_refused(task, database, new_search):
    search = new_search()
    spec = search.storage / "toy/spec.yaml"
    spec.write_text(f"task: {{name: {task}}}\n", encoding="utf-8")
    search.run(0, "stop", 100)
    search.give_up()
    replay = Replay(search.ledger, lambda: connect(database), database)
    lag = deliver_once(search.ledger, replay, 0.1, backoff=Backoff(0.01, 0.02))
    assert not lag.delivered
    assert "cannot name a folder of artifacts" in lag.error


def new_run(database: str, place: str) -> tuple[str, Path]:
    """A run in an experiment of that place: its number, and the folder of its artifacts."""
    client = connect(database)
    number = client.create_experiment(f"at {place} {os.urandom(4).hex()}", artifact_location=place)
    run = client.create_run(number).info
    return run.run_id, Path(run.artifact_uri.removeprefix("file://"))


@pytest.mark.ray
@pytest.mark.timeout(600)
@pytest.mark.attack(9, "a run to be reproduced from a foreign place")
def test_a_run_is_not_reproduced_from_a_foreign_place(database, tmp_path):
    run_id, folder = new_run(database, f"file://{tmp_path}/elsewhere")
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("task: copying\n", encoding="utf-8")
    with pytest.raises(ForeignArtifactsError, match="LONGHAUL_ARTIFACTS="):
        recorded_in_mlflow(run_id, database)


@pytest.mark.ray
@pytest.mark.timeout(600)
@pytest.mark.attack(6, "files of a run to be reproduced")
def test_hostile_files_of_a_run_are_refused(database, tmp_path):
    run_id, folder = new_run(database, str(artifact_root(sqlite_file(database)) / "x"))
    folder.mkdir(parents=True)
    flag = tmp_path / "flag"
    laughs = ["a0: &a0 [x]", *(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 40))]
    texts = [f"task: !!python/object/apply:os.system ['touch {flag}']", "\n".join(laughs), "1"]
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"step": [1]}), folder / "history.parquet")
    for name, contents in {
        "config.yaml": [text.encode() for text in texts],
        "environment.json": [b"[" * 50_000, b"[]", b"\x80\x04\x95", json.dumps("x").encode()],
        "history.parquet": [b"", b"PAR1" + b"\xff" * 64 + b"PAR1", b"\x80\x04\x95"],
    }.items():
        for other in ("config.yaml", "environment.json"):
            (folder / other).write_bytes(b"{}")
        for content in contents:
            (folder / name).write_bytes(content)
            with pytest.raises(RequestError) as refused:
                recorded_in_mlflow(run_id, database)
            assert len(str(refused.value)) < 2_000
    assert not flag.exists()


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(600)
@pytest.mark.attack(9, "a foreign place while a search trains")
def test_training_goes_on_when_the_place_is_refused(run_watched, database, tmp_path):
    client = connect(database)
    found = client.get_experiment_by_name("copying")
    client.rename_experiment(found.experiment_id, "before")
    place = tmp_path / "precious"
    client.create_experiment("copying", artifact_location=f"file://{place}")
    search = run_watched("--tracking-uri", database)
    assert search.status == 0, search.terminal
    assert "1 completed" in search.terminal
    (line,) = [one for one in search.terminal.splitlines() if "LONGHAUL_ARTIFACTS=" in one]
    assert f"file://{place}" in line
    assert "longhaul sync space" in line
    assert not place.exists()
