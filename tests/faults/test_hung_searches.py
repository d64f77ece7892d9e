"""Whole searches in which trials hang, or are stopped, or lie about their memory."""

import os
import signal
from pathlib import Path

import pytest

pytestmark = [pytest.mark.ray, pytest.mark.timeout(1800)]

CELL = {"name": "slow_lstm", "hidden_size": 8, "wait_s": 0.02}
CELL["forget_bias"] = {"uniform": [0, 3]}
DEADLINE = {"report_deadline_s": 20, "retries": 2}
"""Long enough for a step on a machine that is busy with something else."""
HOST = "ray::PackHostActor"


def title_of(pid):
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


def rows(one):
    return "row" in one


@pytest.mark.slow
@pytest.mark.fault("hang", "in a whole search one trial hangs, and another's process is stopped")
def test_trials_that_hang_or_are_stopped_are_run_again(new_project, invariants):
    project = new_project()
    space = project.space("hung", cell=CELL, search={"trials": 4} | DEADLINE)
    driver = project.start("search", space, "--json")
    project.await_witness(driver, rows)
    (project.plugins / "hang").touch()
    hung = project.await_witness(driver, lambda one: one.get("kind") == "started")
    point = project.await_witness(driver, rows)
    os.kill(point["pid"], signal.SIGSTOP)
    assert driver.wait() == 0, driver.stderr
    assert not (project.plugins / "hang").exists(), hung
    invariants.hold(project, "hung", 4, driver)
    attempts = [one.attempts for one in project.ledger("hung").record().trials.values()]
    assert sum(attempts) == 4 + 2
    invariants.delivered(project, "hung")


@pytest.mark.slow
@pytest.mark.fault("hang", "a pack host is stopped, and later a trial in it hangs")
def test_a_host_that_is_stopped_or_hangs_costs_some_steps(new_project, invariants):
    project = new_project()
    space = project.space(
        "packs", cell=CELL, search={"trials": 4} | DEADLINE, resources={"slots": 4}
    )
    driver = project.start("search", space, "--json")
    project.await_witness(driver, lambda one: one.get("kind") == "reported")
    with project.held():
        found = {one: title_of(one.pid) for one in driver.look() if one.alive}
        hosts = [one for one, title in found.items() if title.startswith(HOST)]
        assert hosts, found.values()
        os.kill(hosts[0].pid, signal.SIGSTOP)
    project.await_witness(driver, lambda one: one.get("kind") == "reported")
    (project.plugins / "hang").touch()
    assert driver.wait() == 0, driver.stderr
    assert not (project.plugins / "hang").exists()
    assert not hosts[0].alive
    invariants.hold(project, "packs", 4, driver)
    invariants.delivered(project, "packs")
