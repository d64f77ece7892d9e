"""A running search is given more trials, and more of them at once."""

import pytest

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def changed(new_project):
    project = new_project()
    cell = {"name": "slow_lstm", "hidden_size": 8, "wait_s": 0.02}
    cell["forget_bias"] = {"uniform": [0, 3]}
    space = project.space("s", cell=cell, search={"trials": 1, "scheduler": "full"})
    driver = project.start("search", space, "--parallel", "1", "--json")
    project.await_witness(driver, lambda one: "row" in one)
    with project.held():  # all that there was to hand out is handed out by now
        setting = project.start("set", "s", "search.trials=3", "search.parallel=2", "--json")
        project.await_witness(driver, lambda one: (one.get("kind"), one["trial"]) == ("started", 1))
        setting.wait()
    assert driver.wait() == 0, driver.stderr
    return project, setting.json(), driver


def test_the_driver_takes_it_up_without_a_signal(changed):
    _, told, driver = changed
    assert told["taken"] is True
    assert driver.json()["counts"] == {"completed": 3}


def test_as_many_run_at_once_as_were_asked_for(changed):
    running, most = set(), 0
    for event in changed[0].ledger("s").events():
        if event.kind == "started":
            running.add(event.trial)
        elif event.kind == "finished":
            running.discard(event.trial)
        most = max(most, len(running))
    assert most == 2
