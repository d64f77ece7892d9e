"""Where Ray is asked on behalf of a search."""

import os
import subprocess
import sys

import pytest

from longhaul.search.ray_access import LOOPBACK, asked_at

NAME, VALUE = next(iter(LOOPBACK.items()))
SLEEP = "import time; print(flush=True); time.sleep(600)"


def asks_loopback(address):
    with asked_at(address):
        return os.environ.get(NAME) == VALUE


@pytest.fixture(autouse=True)
def untold(monkeypatch):
    monkeypatch.delenv(NAME, raising=False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


@pytest.mark.parametrize(
    ("address", "expected"),
    [("127.0.0.1:6379", True), ("localhost:6379", True), ("10.0.0.7:6379", False)],
)
def test_a_head_is_asked_where_it_listens(address, expected, monkeypatch):
    assert asks_loopback(address) is expected
    assert NAME not in os.environ
    monkeypatch.setenv("RAY_ADDRESS", address)
    assert asks_loopback("auto") is expected


@pytest.mark.parametrize(("told", "expected"), [("127.0.0.1:1", True), ("10.0.0.7:1", False)])
def test_among_several_heads_auto_is_the_one_started_last(told, expected, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray/ray_current_cluster").write_text(f"{told}\n", encoding="utf-8")
    heads = [f"--gcs-address={host}:1" for host in ("127.0.0.1", "10.0.0.7")]
    words = [[sys.executable, "-c", SLEEP, head] for head in heads]
    running = [subprocess.Popen(one, stdout=subprocess.PIPE) for one in words]
    try:
        for one in running:
            one.stdout.readline()  # for a moment after its start a process has no command line
        assert asks_loopback("auto") is expected
    finally:
        for one in running:
            one.kill()
            one.communicate()
