"""Real searches that decide in the order of trial numbers, on one trial's core and on two."""

import json

import pytest

from longhaul.ledger import EventKind

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]

DECIDED = (
    EventKind.SUGGESTED,
    EventKind.REPORTED,
    EventKind.STOPPED,
    EventKind.FINISHED,
)


def story(ledger):
    """What was decided, in order."""
    events = (event for event in ledger.events() if event.kind in DECIDED)
    return [(event.kind, event.trial, event.data) for event in events]


@pytest.mark.slow  # two searches, three drivers; tests/search/test_replay.py has it without Ray
@pytest.mark.fault("driver", "SIGKILL of a driver that decides in the order of numbers")
def test_a_search_that_is_killed_on_the_way_is_the_same_search(new_project):
    stories = []
    for killed in (False, True):
        project = new_project()
        settings = {"trials": 5, "parallel": 3, "order": "number", "sampler": {"name": "tpe"}}
        cell = {"name": "slow_lstm", "hidden_size": 8, "forget_bias": {"uniform": [0, 3]}}
        sections = {"cell": cell, "search": settings, "resources": {"cpus": 0.5}}
        space = project.space("ordered", **sections)
        if killed:
            project.kill_after(12)
            assert project.run("search", space).popen.returncode < 0
        driver = project.run("search", space, "--json")
        assert driver.popen.returncode == 0, driver.stderr
        stories.append(story(project.ledger("ordered")))
        replayed = project.run("replay", "ordered", "--json")
        assert json.loads(replayed.stdout)["verdict"] == "identical"
        project.check_nothing_is_lost("ordered")
    assert stories[0] == stories[1]


def test_trials_that_could_not_run_at_once_are_refused(new_project):
    project = new_project()
    settings = {"trials": 500, "parallel": 400, "order": "number"}
    driver = project.run("search", project.space("wide", search=settings))
    assert driver.popen.returncode == 2, driver.stderr
    assert "needs 400 trials at once" in driver.stderr


def test_the_order_of_numbers_needs_a_number_of_trials(new_project):
    project = new_project()
    driver = project.run("check", project.space("open", search={"order": "number"}))
    assert driver.popen.returncode == 2
    assert "search.parallel" in driver.stderr
    assert "order: number" in driver.stderr
