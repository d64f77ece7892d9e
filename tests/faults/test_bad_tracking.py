"""Whole searches whose MLflow is slow, failing, flapping or gone; and the database behind it."""

import random
import tempfile
import threading
import time
from pathlib import Path

import pytest
from postgres_server import started, why_not

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(1200)]

CELL = {"name": "slow_lstm", "hidden_size": 8, "wait_s": 0.02}
CELL["forget_bias"] = {"uniform": [0, 3]}
TRIALS = 4


def search(project, uri, **environment):
    space = project.space("tracked", cell=CELL, search={"trials": TRIALS})
    return project.start("search", space, "--json", "--tracking-uri", uri, **environment)


def sync(project, uri):
    delivered = project.run("sync", "tracked", "--tracking-uri", uri)
    assert delivered.popen.returncode == 0, delivered.stderr


@pytest.mark.parametrize(
    ("kind", "share"), [("before", 0.05), ("after", 0.05), ("hang", 0.1), ("slow", 0)]
)
@pytest.mark.fault("mlflow-flaky", "a whole search: 5 % 500s, before or after; hanging; 300 ms")
def test_a_bad_server_gets_everything_once(
    new_project, mlflow_server, fault_proxy, invariants, kind, share
):
    dice = random.Random(0)
    fault_proxy.fault = lambda method, path: kind if dice.random() < share else "pass"
    fault_proxy.delay_s = 0.3 if kind == "slow" else 0.0
    project = new_project()
    driver = search(project, fault_proxy.uri, MLFLOW_HTTP_REQUEST_TIMEOUT="2")
    assert driver.wait() == 0, driver.stderr
    invariants.hold(project, "tracked", TRIALS, driver)
    fault_proxy.fault, fault_proxy.delay_s = (lambda method, path: "pass"), 0.0
    sync(project, mlflow_server.uri)
    invariants.delivered(project, "tracked", mlflow_server.uri)


@pytest.mark.fault("mlflow-dead", "no server during a whole search")
def test_a_server_that_was_never_there_gets_everything_later(
    new_project, mlflow_server, invariants
):
    mlflow_server.stop()
    project = new_project()
    driver = search(project, mlflow_server.uri)
    assert driver.wait() == 0, driver.stderr
    assert driver.stderr.count("longhaul sync tracked") == 1
    invariants.hold(project, "tracked", TRIALS, driver)
    mlflow_server.start()
    sync(project, mlflow_server.uri)
    invariants.delivered(project, "tracked", mlflow_server.uri)


@pytest.mark.fault("mlflow-dead", "the server is cut off and back every few seconds")
def test_a_server_that_flaps_gets_everything_once(
    new_project, mlflow_server, fault_proxy, invariants
):
    over = threading.Event()
    up = [True]

    def flap():
        while not over.wait(2.0):
            up[0] = not up[0]

    fault_proxy.fault = lambda method, path: "pass" if up[0] else "cut"
    thread = threading.Thread(target=flap)
    thread.start()
    try:
        project = new_project()
        driver = search(project, fault_proxy.uri, MLFLOW_HTTP_REQUEST_TIMEOUT="2")
        assert driver.wait() == 0, driver.stderr
    finally:
        over.set()
        thread.join()
    assert fault_proxy.seen["cut"] > 0
    invariants.hold(project, "tracked", TRIALS, driver)
    sync(project, mlflow_server.uri)
    invariants.delivered(project, "tracked", mlflow_server.uri)


@pytest.fixture
def postgres():
    if why_not():
        pytest.skip(why_not())
    # Not below pytest's own folder, which is root's alone.
    with tempfile.TemporaryDirectory(prefix="longhaul-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        with started(Path(name) / "server") as database:
            yield database


@pytest.fixture
def server_on_postgres(postgres, new_mlflow_server):
    return new_mlflow_server(postgres.uri)


@pytest.mark.fault(
    "postgres", "PostgreSQL stopped at once, then with too many connections, then gone for 30 s"
)
def test_a_database_that_restarts_gets_everything_once(
    new_project, postgres, server_on_postgres, invariants
):
    project = new_project()
    driver = search(project, server_on_postgres.uri, MLFLOW_HTTP_REQUEST_TIMEOUT="5")
    project.await_witness(driver, lambda one: one.get("kind") == "reported")
    postgres.stop()
    time.sleep(3)
    postgres.start()
    with postgres.crowded():
        time.sleep(5)
    postgres.stop()
    time.sleep(30)
    postgres.start()
    assert driver.wait() == 0, driver.stderr
    invariants.hold(project, "tracked", TRIALS, driver)
    sync(project, server_on_postgres.uri)
    invariants.delivered(project, "tracked", server_on_postgres.uri)
