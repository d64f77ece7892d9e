"""What `submit` and the commands with `--cluster` ask of a dashboard, and what they say."""

import json
import os
import shlex
import signal
import subprocess
import sys
import zipfile

import pytest
from click.testing import CliRunner

from longhaul.cli.main import main
from longhaul.cluster import submission
from longhaul.spec.search_spec import SearchSpec

SPACE = "copying-quickstart"


@pytest.fixture
def run(stand_in, tmp_path, monkeypatch):
    """Runs a command on the stand-in, from a folder with a file that is nobody's business."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "private.txt").write_text("private", encoding="utf-8")

    def call(*words, status=0, **environment):
        cluster = {"LONGHAUL_CLUSTER": stand_in.address}
        result = CliRunner().invoke(main, words, env=cluster | environment)
        assert result.exit_code == status, result.output
        return result

    return call


def wheel(folder, name, **files):
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}-1.0.dist-info/METADATA", f"Name: {name}\nVersion: 1.0\n")
        for module, text in files.items():
            archive.writestr(f"{module}.py", text)
    return str(path)


def words_of(job):
    return shlex.split(job["entrypoint"])


def test_only_the_resolved_space_goes_to_the_cluster(stand_in, run):
    stand_in.drive = stand_in.begins
    result = run("submit", SPACE, "--name", "night", "--trials", "3", "--set", "training.steps=50")
    assert result.stdout.startswith("search night submitted as job night\n")
    job = stand_in.jobs["night"]
    content = stand_in.content(job)
    assert set(content) == {"spec.yaml"}
    spec = SearchSpec.from_text(content["spec.yaml"].decode(), "spec.yaml")
    assert (spec.name, spec.search.trials, spec.max_steps) == ("night", 3, 50)
    wanted = SearchSpec.load(SPACE, ["training.steps=50", "search.trials=3"], "night")
    assert spec.sha256 == wanted.sha256
    words = words_of(job)
    assert words[:5] == ["exec", "python", "-m", "longhaul.cluster.on_head", "run"]
    assert words[5:] == ["search", "spec.yaml", "--address", "auto"]


def test_this_machines_storage_and_tracking_are_not_the_clusters(stand_in, run):
    stand_in.drive = stand_in.begins
    here = {"LONGHAUL_STORAGE": "/here/runs", "MLFLOW_TRACKING_URI": "http://localhost:1"}
    run("submit", SPACE, **here)
    assert "--storage" not in words_of(stand_in.jobs[SPACE])
    there = ["--storage", "s3://bucket/runs", "--tracking-uri", "http://mlflow:5000"]
    run("submit", SPACE, "--name", "other", *there, **here)
    assert words_of(stand_in.jobs["other"])[7:11] == there


def test_the_same_search_submitted_twice_is_joined(stand_in, run):
    stand_in.drive = stand_in.begins
    run("submit", SPACE)
    again = run("submit", SPACE, "--json")
    assert json.loads(again.stdout)["joined"] is True
    assert json.loads(again.stdout)["job"] == SPACE
    assert list(stand_in.jobs) == [SPACE]


def test_two_who_submit_at_once_share_one_search(stand_in, run, monkeypatch):
    spec = SearchSpec.load(SPACE)
    ask = submission.Dashboard.submit

    def somebody_was_quicker(self, *words):
        if not stand_in.jobs:
            stand_in.add(SPACE, "RUNNING", spec.to_yaml())
        ask(self, *words)

    monkeypatch.setattr(submission.Dashboard, "submit", somebody_was_quicker)
    assert json.loads(run("submit", SPACE, "--json").stdout)["joined"] is True


@pytest.mark.parametrize("status", ["RUNNING", "SUCCEEDED", "STOPPED"])
def test_another_search_of_the_name_is_refused_with_the_difference(stand_in, run, status):
    other = SearchSpec.load(SPACE, ["training.steps=70"])
    stand_in.add(SPACE, status, other.to_yaml(), 0)
    said = run("submit", SPACE, status=2).stderr
    assert f"another search called {SPACE} on the cluster at {stand_in.address}" in said
    assert "it has `steps: 70` where this one has `steps: 600`" in said
    assert f"--name {SPACE}-2" in said


def test_a_search_that_broke_off_gets_a_job_of_its_own(stand_in, run):
    stand_in.drive = stand_in.begins
    stand_in.add(SPACE, "FAILED", SearchSpec.load(SPACE).to_yaml(), -9)
    run("submit", SPACE)
    run("stop", SPACE)
    run("submit", SPACE)
    assert list(stand_in.jobs) == [SPACE, f"{SPACE}~2", f"{SPACE}~3"]


def test_what_was_refused_does_not_take_the_name(stand_in, run):
    stand_in.drive = stand_in.refuses("the head has other versions")
    said = run("submit", SPACE, "--set", "training.steps=70", status=2).stderr
    assert said.endswith("error: the head has other versions\n")
    told = json.loads(run("status", SPACE, "--json").stdout)
    assert (told["state"], told["reason"]) == ("refused", "the head has other versions")
    stand_in.drive = stand_in.begins
    run("submit", SPACE)
    assert list(stand_in.jobs) == [SPACE, f"{SPACE}~2"]


def test_a_job_that_ray_cannot_start_says_why(stand_in, run):
    stand_in.drive = lambda job: job.update(
        status="FAILED", message="runtime_env setup failed:\n no space left"
    )
    said = run("submit", SPACE, status=1).stderr
    assert f"job {SPACE} did not start: runtime_env setup failed: no space left" in said


def test_a_head_without_longhaul_is_told_apart(stand_in, run):
    def no_longhaul(job):
        stand_in.logs[job["submission_id"]] += "python: No module named longhaul.cluster\n"
        job |= {"status": "FAILED", "driver_exit_code": 1}

    stand_in.drive = no_longhaul
    assert "submit a wheel: --wheel FILE" in run("submit", SPACE, status=1).stderr


def test_a_running_search_is_not_resumed(stand_in, run):
    stand_in.add(SPACE, "RUNNING", SearchSpec.load(SPACE).to_yaml())
    said = run("resume", SPACE, status=2).stderr
    assert f"is running, as job {SPACE}" in said
    assert f"longhaul stop {SPACE} --cluster {stand_in.address}" in said


def test_resume_goes_where_the_search_was(stand_in, run, tmp_path):
    stand_in.drive = stand_in.begins
    mine = wheel(tmp_path, "mycells", mycells="x = 1")
    run("submit", SPACE, "--storage", "/shared/runs", "--package", mine)
    run("stop", SPACE)
    assert "was submitted with mycells-1.0" in run("resume", SPACE, status=2).stderr
    run("resume", SPACE, "--trials", "40", "--package", mine)
    words = words_of(stand_in.jobs[f"{SPACE}~2"])
    assert words[5:] == shlex.split(
        f"resume {SPACE} --trials 40 --storage /shared/runs --address auto"
    )
    assert "mycells.py" in stand_in.content(stand_in.jobs[f"{SPACE}~2"])
    # Still the same search: its job still knows its space.
    assert json.loads(run("submit", SPACE, "--json").stdout)["joined"] is True


def test_wheels_go_unpacked_beside_the_space(stand_in, run, tmp_path):
    stand_in.drive = stand_in.begins
    own, mine = wheel(tmp_path, "longhaul", longhaul="v = 2"), wheel(tmp_path, "cells", cells="")
    run("submit", SPACE, "--wheel", own, "--package", mine)
    content = stand_in.content(stand_in.jobs[SPACE])
    assert {"spec.yaml", "longhaul.py", "cells.py", "cells-1.0.dist-info/METADATA"} <= set(content)


@pytest.mark.parametrize(
    ("option", "make", "said"),
    [
        ("--wheel", lambda folder: wheel(folder, "torch"), "is a wheel of 'torch'; expected one"),
        ("--wheel", lambda folder: str(folder / "none.whl"), "there is no file"),
        ("--package", lambda folder: str(folder / "private.txt"), "is no wheel; expected a wheel"),
        (
            "--package",
            lambda folder: wheel(folder, "evil", **{"../evil": ""}),
            "holds '../evil.py', which no wheel should",
        ),
    ],
)
def test_what_is_no_wheel_is_refused(run, tmp_path, option, make, said):
    assert said in run("submit", SPACE, option, make(tmp_path), status=2).stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--storage", "runs"], "expected a folder that all nodes of the cluster see"),
        (["--storage", "s3://me:secret@bucket"], "--storage: s3://***@bucket holds a user"),
        (["--tracking-uri", "http://me:secret@mlflow"], "--tracking-uri: http://***@mlflow holds"),
    ],
)
def test_places_that_cannot_be_the_clusters_are_refused(stand_in, run, words, said):
    result = run("submit", SPACE, *words, status=2)
    assert said in result.stderr
    assert "secret@" not in result.output
    assert not stand_in.jobs


def test_a_token_is_asked_for_and_looked_at(stand_in, run, tmp_path):
    stand_in.token = "right"
    stand_in.drive = stand_in.begins
    said = run("submit", SPACE, status=2).stderr
    assert f"the cluster at {stand_in.address} asks for a token, and there is none here" in said
    file = tmp_path / "token"
    file.write_text("wrong\n", encoding="utf-8")
    file.chmod(0o644)
    said = run("status", SPACE, status=2, RAY_AUTH_TOKEN_PATH=str(file)).stderr
    assert f"refuses the token from {file}" in said
    assert "wrong" not in said
    file.write_text("right\n", encoding="utf-8")
    said = run("submit", SPACE, RAY_AUTH_TOKEN_PATH=str(file)).stderr
    assert f"chmod 600 {file}" in said
    usual = tmp_path / "home/.ray/auth_token"
    usual.parent.mkdir()
    usual.write_text("right", encoding="utf-8")
    usual.chmod(0o600)
    assert "chmod" not in run("submit", SPACE).stderr


@pytest.mark.parametrize("content", [None, "", b"\xff\xfe"])
def test_a_token_file_that_holds_none_is_named(stand_in, run, tmp_path, content):
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    said = run("logs", SPACE, status=2, RAY_AUTH_TOKEN_PATH=str(file)).stderr
    assert f"RAY_AUTH_TOKEN_PATH names {file}, which" in said
    assert "expected" in said


def test_another_ray_is_refused_before_anything_is_submitted(stand_in, run):
    stand_in.ray = "2.1.0"
    said = run("submit", SPACE, status=2).stderr
    assert "this machine and the cluster at" in said
    assert "ray==2.1.0" in said
    assert not stand_in.jobs


@pytest.mark.parametrize("address", ["http://127.0.0.1:1", "127.0.0.1:1"])
def test_where_no_cluster_is_the_way_to_one_is_told(run, address):
    said = run("submit", SPACE, "--cluster", address, status=2).stderr
    assert said.startswith("error: no cluster at http://127.0.0.1:1: ")
    assert "ssh -L 8265:localhost:8265 HEAD" in said


@pytest.mark.parametrize("address", ["ftp://head", "http://head:port", "http://u:p@head", ""])
def test_an_address_that_is_none_is_refused(run, address):
    said = run("logs", SPACE, "--cluster", address, status=2).stderr
    assert "--cluster" in said


def test_variables_for_rays_own_programs_do_not_lead_elsewhere(stand_in, run, monkeypatch):
    stand_in.drive = stand_in.begins
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:1")
    run("submit", SPACE)
    assert SPACE in stand_in.jobs
    assert os.environ["RAY_ADDRESS"] == "http://127.0.0.1:1"


def test_a_suite_is_told_where_it_runs(run):
    assert (
        "longhaul search SUITE --address auto"
        in run("submit", "suites/copying-small", status=2).stderr
    )


def test_logs_are_those_of_the_job_that_did_something(stand_in, run):
    spec = SearchSpec.load(SPACE).to_yaml()
    stand_in.add(SPACE, "RUNNING", spec)
    stand_in.logs[SPACE] += "1/16 trials\n"
    stand_in.submit({"submission_id": "x", "entrypoint": "", "metadata": {}}, run=False)
    assert run("logs", SPACE).stdout.endswith("1/16 trials\n")
    assert "did you mean" in run("logs", "copying-quickstar", status=2).stderr


def test_status_and_list_come_from_the_ledger_on_the_head(stand_in, run, whole_search):
    stand_in.drive = stand_in.runs(LONGHAUL_STORAGE=str(whole_search.storage))
    told = json.loads(run("status", "toy", "--json").stdout)
    assert (told["state"], told["trials"]) == ("completed", 8)
    assert "search toy: completed" in run("status", "toy").stdout
    assert "toy" in run("list").stdout
    assert "Did you mean 'toy'?" in run("status", "tox", status=2).stderr
    assert not stand_in.jobs  # questions leave nothing behind


def test_the_head_refuses_a_machine_of_other_versions(stand_in, run, monkeypatch):
    stand_in.drive = stand_in.runs()
    theirs = {"longhaul": "9.9 (code 0)", "python": "3.11", "ray": "2.60.0", "torch": "1.0+cpu"}
    with monkeypatch.context() as patch:
        patch.setattr("longhaul.cluster.versions.versions_here", lambda: theirs)
        said = run("submit", SPACE, status=2).stderr
    assert "the machine that submitted this and the head of the cluster differ: " in said
    assert "longhaul 9.9 (code 0) and" in said
    assert "torch 1.0+cpu and" in said
    assert "give both the same, for example longhaul==" in said


def test_a_cluster_without_storage_is_refused(stand_in, run):
    stand_in.drive = stand_in.runs()
    said = run("submit", SPACE, status=2).stderr
    assert "this cluster has no storage of its own" in said


def test_stop_ends_a_driver_of_this_machine(run, new_search, tmp_path):
    search = new_search()
    search.die()
    assert (
        "nobody runs search 'toy'"
        in run(
            "stop", "toy", "--storage", str(search.storage), status=2, LONGHAUL_CLUSTER=""
        ).stderr
    )
    code = """
import signal, sys
from longhaul.ledger import Ledger
writer = Ledger.open(sys.argv[1], "toy").acquire()
signal.signal(signal.SIGTERM, lambda *_: sys.exit(writer.close()))
print("owner", flush=True)
signal.pause()
"""
    driver = subprocess.Popen(
        [sys.executable, "-c", code, search.storage], stdout=subprocess.PIPE, encoding="utf-8"
    )
    try:
        assert driver.stdout.readline() == "owner\n"
        # Its parent has to ask for its end before it is gone for good.
        signal.signal(signal.SIGCHLD, lambda *_: driver.poll())
        told = run("stop", "toy", "--storage", str(search.storage), LONGHAUL_CLUSTER="").stdout
    finally:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        driver.kill()
        driver.wait()
        driver.stdout.close()
    assert driver.returncode == 0
    assert f"longhaul resume toy --storage {search.storage}" in told
