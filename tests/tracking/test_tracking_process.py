"""The background writer as a process: started, drained, killed, orphaned."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from longhaul.errors import RequestError
from longhaul.tracking import Lag, TrackingProcess
from longhaul.tracking.lock import TrackingBusyError, tracking_lock


def wait_until(condition: Callable[[], bool], what: str, limit_s: float = 90) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def test_follows_a_search_and_drains(
    new_search, tracking_uri, content_of, equals_ledger, tmp_path, monkeypatch
):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    search = new_search()
    process = TrackingProcess(str(search.storage), "toy", tracking_uri)
    process.start()
    process.start()  # a second time changes nothing
    search.suggest(0)
    search.start(0)
    search.train(0, 100)
    search.report(0)
    assert os.getpriority(os.PRIO_PROCESS, process._process.pid) in (0, 5)
    wait_until(lambda: "000 exprnn" in content_of(tracking_uri), "the running trial is shown")
    assert content_of(tracking_uri)["000 exprnn"]["status"] == "RUNNING"
    search.train(0, 600)
    search.finish(0)
    search.give_up()
    lag = process.drain(timeout_s=90)
    assert lag.delivered
    assert not process.running
    process.stop()
    equals_ledger(content_of(tracking_uri), search.ledger)
    assert "WARNING" not in process.log_path.read_text()
    assert list(scratch.iterdir()) == []
    assert Lag.read(search.ledger.storage).parent_run_id


@pytest.mark.fault("driver", "SIGKILL of the driver: what MLflow shows")
def test_when_the_driver_is_killed_its_trials_are_shown_as_interrupted(
    new_search, tracking_uri, content_of
):
    search = new_search()
    search.suggest(0)
    search.start(0)
    search.train(0, 100)
    program = (
        "import sys, time\n"
        "from longhaul.tracking import TrackingProcess\n"
        "process = TrackingProcess(*sys.argv[1:])\n"
        "process.start()\n"
        "print(process._process.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    words = [sys.executable, "-c", program, str(search.storage), "toy", tracking_uri]
    driver = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    writer = int(driver.stdout.readline())
    wait_until(lambda: "000 exprnn" in content_of(tracking_uri), "the running trial is shown")
    driver.kill()
    driver.wait()
    search.die()
    wait_until(lambda: not _alive(writer), "the writer ends by itself")
    run = content_of(tracking_uri)["000 exprnn"]
    assert (run["status"], run["tags"]["longhaul.state"]) == ("KILLED", "interrupted")


@pytest.mark.slow
@pytest.mark.fault("mlflow-flaky", "SIGKILL of the process that writes to MLflow, again and again")
def test_killed_again_and_again_nothing_is_doubled(
    new_search, tracking_uri, content_of, equals_ledger
):
    search = new_search()
    for number in range(12):
        search.run(number, ("finish", "stop")[number % 2], 600 - 500 * (number % 2))
    lives = 0
    for life_s in (3.0, 3.5, 4.0, 4.5, 5.0):
        process = TrackingProcess(str(search.storage), "toy", tracking_uri)
        process.start()
        time.sleep(life_s)
        lives += process.running
        process._process.send_signal(signal.SIGKILL)
        process._process.wait()
    assert lives == 5
    search.give_up()
    process = TrackingProcess(str(search.storage), "toy", tracking_uri)
    process.start()
    assert process.drain(timeout_s=120).delivered
    equals_ledger(content_of(tracking_uri), search.ledger)


@pytest.mark.slow
def test_searches_that_create_the_database_at_once(new_search, tmp_path, content_of):
    uri = f"sqlite:///{tmp_path / 'fresh' / 'mlflow.db'}"
    searches = [new_search(name) for name in ("a", "b", "c")]
    processes = [TrackingProcess(str(one.storage), one.name, uri) for one in searches]
    for process in processes:
        process.start()
    for search in searches:
        search.run(0, "stop", 100)
        search.give_up()
    lags = [process.drain(timeout_s=150) for process in processes]
    assert [lag.delivered for lag in lags] == [True] * 3, [lag.error for lag in lags]
    from mlflow import MlflowClient

    runs = MlflowClient(tracking_uri=uri).search_runs(["1"])
    assert sorted(run.info.run_name for run in runs) == ["000 exprnn"] * 3 + ["a", "b", "c"]
    for process in processes:
        assert "WARNING" not in process.log_path.read_text()


@pytest.mark.fault("mlflow-dead", "no server there at all")
def test_a_server_that_is_down_delays_nothing(new_search):
    search = new_search()
    process = TrackingProcess(str(search.storage), "toy", "http://ada:canary@127.0.0.1:9")
    process.start()
    search.run(0, "stop", 100)
    search.give_up()
    wait_until(lambda: bool(process.log_path.read_text()), "the failure is logged")
    time.sleep(2)  # some more tries
    lag = process.drain(timeout_s=1)
    process.stop()
    assert not lag.delivered
    assert lag.error
    log = process.log_path.read_text()
    assert log.count("trying again") == 1
    assert "canary" not in log + lag.error


def test_only_one_writer_at_a_time(new_search):
    ledger = new_search().ledger
    with (
        tracking_lock(ledger),
        pytest.raises(TrackingBusyError, match=f"by process {os.getpid()} on"),
        tracking_lock(ledger),
    ):
        raise AssertionError("both hold it")
    with tracking_lock(ledger):
        pass


def test_a_large_log_is_begun_anew(new_search):
    search = new_search()
    process = TrackingProcess(str(search.storage), "toy", "http://127.0.0.1:9")
    process.log_path.write_bytes(b"x" * 1_000_001)
    process.start()
    process.stop()
    assert process.log_path.stat().st_size < 100_000


def test_a_wrong_address_is_refused_at_once(new_search):
    with pytest.raises(RequestError, match="expected http"):
        TrackingProcess(str(new_search().storage), "toy", "./mlruns")


def _alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().split(")")[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
