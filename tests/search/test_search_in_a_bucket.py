"""A whole search whose ledger is kept in a bucket."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter

import boto3
import pytest
import s3_server

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.timeout(900),
]

STORAGE = "s3://searches/runs"
SPACE = """
task: {name: copying, delay: 5}
cell: {name: lstm, hidden_size: 8, forget_bias: {uniform: [0, 3]}}
training: {steps: 2000, batch_size: 4, evaluate_every: 100, validation_size: 20, test_size: 20}
search: {trials: 4, scheduler: {name: asha, grace_steps: 500}, checkpoint_every_s: 1}
"""


@pytest.fixture
def bucket(monkeypatch):
    with s3_server.started() as variables:
        for name, value in (variables | {"OMP_NUM_THREADS": "1"}).items():
            monkeypatch.setenv(name, value)
        boto3.client("s3").create_bucket(Bucket="searches")
        yield


def start(folder, *words):
    place = ["--storage", STORAGE, "--tracking-uri", f"sqlite:///{folder}/mlflow.db"]
    command = [sys.executable, "-P", "-m", "longhaul", *words, *place, "--json"]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, start_new_session=True)


def test_a_killed_driver_is_resumed_from_a_bucket(bucket, tmp_path):
    from longhaul.ledger import Ledger, UnknownSearchError

    (tmp_path / "bucketed.yaml").write_text(SPACE, encoding="utf-8")
    driver = start(tmp_path, "search", "bucketed.yaml")
    deadline = time.monotonic() + 300
    events = []
    while sum(one.kind == "reported" for one in events) < 3:
        assert driver.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.5)
        try:
            events = Ledger.open(STORAGE, "bucketed").events()
        except UnknownSearchError:
            continue
    os.kill(driver.pid, signal.SIGKILL)
    driver.communicate()
    before = Ledger.open(STORAGE, "bucketed").events()

    told, _ = start(tmp_path, "resume", "bucketed").communicate(timeout=400)
    assert json.loads(told)["state"] == "completed"
    ledger = Ledger.open(STORAGE, "bucketed")
    events = ledger.events()
    assert events[: len(before)] == before
    reports = Counter((one.trial, one.data["step"]) for one in events if one.kind == "reported")
    assert set(reports.values()) == {1}
    assert len(ledger.record().trials) == 4
    assert not ledger.is_owned()

    replayed = start(tmp_path, "reproduce", "bucketed")
    told, _ = replayed.communicate(timeout=200)
    assert json.loads(told)["verdict"] == "identical"
    assert replayed.returncode == 0
