"""A trial that takes all the memory there is."""

from pathlib import Path

import pytest

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(1800)]

CELL = {"name": "slow_lstm", "hidden_size": 8, "wait_s": 0.05}
CELL["forget_bias"] = {"uniform": [0, 3]}
ROOM_MIB, MOUTHFUL_MIB = 5000, 8000
"""What else this machine does must fit into the room, or Ray ends trials that are not to blame."""


def memory_mib(name):
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise LookupError(name)


@pytest.mark.fault("oom", "a trial of a whole search takes more memory than Ray leaves it")
def test_a_trial_that_runs_out_of_memory_does_not_end_the_search(new_project, invariants):
    if memory_mib("MemAvailable") < MOUTHFUL_MIB + 2000:
        pytest.skip("this machine has too little free memory to use some up")
    total = memory_mib("MemTotal")
    threshold = (total - memory_mib("MemAvailable") + ROOM_MIB) / total
    project = new_project()
    search = {"trials": 4, "retries": 2}
    driver = project.start(
        "search",
        project.space("hungry", cell=CELL, search=search),
        "--json",
        RAY_memory_usage_threshold=str(threshold),
        RAY_memory_monitor_refresh_ms="100",
    )
    project.await_witness(driver, lambda one: "row" in one)
    (project.plugins / "swallow").write_text(str(MOUTHFUL_MIB))
    assert driver.wait() == 0, driver.stderr
    assert not (project.plugins / "swallow").exists()
    invariants.hold(project, "hungry", 4, driver)
    attempts = [one.attempts for one in project.ledger("hungry").record().trials.values()]
    assert max(attempts) > 1
    invariants.delivered(project, "hungry")
