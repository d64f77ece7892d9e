"""Nodes that are killed under a search, and the store in which Ray keeps what it knows."""

import secrets
import time

import pytest
from clusters import Raylets

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(1200)]

CELL = {"name": "slow_lstm", "hidden_size": 8, "wait_s": 0.1}
CELL["forget_bias"] = {"uniform": [0, 3]}


@pytest.fixture
def raylets(new_project):
    """A project and its cluster, started with so many processors for each node."""
    started = []

    def start(*cpus, **environment):
        project = new_project()
        project.token = secrets.token_hex(32)
        quiet = project.environment() | {"RAY_USAGE_STATS_ENABLED": "0"} | environment
        started.append(Raylets(project.folder, cpus, quiet))
        return project, started[-1]

    yield start
    for one in started:
        one.close()


def rows(one):
    return "row" in one


@pytest.mark.fault("node", "SIGKILL of a node on which a trial trains")
def test_trials_of_a_node_that_dies_go_on_elsewhere(raylets, invariants):
    project, cluster = raylets(0, 1, 1)
    space = project.space("nodes", cell=CELL, search={"trials": 4})
    driver = project.start("search", space, "--json", "--address", cluster.address)
    project.await_witness(driver, lambda one: one.get("kind") == "reported")
    cluster.tell("kill-node 1")
    assert driver.wait() == 0, driver.stderr
    invariants.hold(project, "nodes", 4, driver)
    attempts = [one.attempts for one in project.ledger("nodes").record().trials.values()]
    assert sum(attempts) == 4 + 1
    invariants.delivered(project, "nodes")


@pytest.mark.fault("gcs", "SIGKILL of the control store, which keeps its tables on disk")
def test_the_search_goes_on_when_the_control_store_comes_back(raylets, invariants, tmp_path):
    environment = {"RAY_gcs_storage": "rocksdb", "RAY_gcs_storage_path": str(tmp_path)}
    project, cluster = raylets(1, 1, **environment)
    space = project.space("store", cell=CELL, search={"trials": 4})
    driver = project.start("search", space, "--json", "--address", cluster.address)
    project.await_witness(driver, lambda one: one.get("kind") == "reported")
    cluster.tell("kill-gcs")
    time.sleep(5)
    cluster.tell("start-gcs")
    assert driver.wait() == 0, driver.stderr
    invariants.hold(project, "store", 4, driver)
    invariants.delivered(project, "store")


@pytest.mark.fault("gcs", "SIGKILL of a control store that keeps its tables in memory")
def test_without_its_control_store_a_search_ends_and_is_resumed(raylets, invariants):
    project, cluster = raylets(1)
    space = project.space("lost", cell=CELL, search={"trials": 3})
    driver = project.start("search", space, "--json", "--address", cluster.address)
    project.await_witness(driver, rows)
    cluster.tell("kill-gcs")
    assert driver.wait() != 0
    assert "longhaul resume lost" in driver.stderr
    driver.look()
    driver.end()
    invariants.exactly_once(project, "lost")
    project.token = ""
    again = project.run("resume", "lost", "--json")
    assert again.popen.returncode == 0, again.stderr
    invariants.hold(project, "lost", 3, again)
    invariants.delivered(project, "lost")
