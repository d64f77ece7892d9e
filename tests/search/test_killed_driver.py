"""Drivers and trial processes killed in the middle, and what the ledger still has."""

import json
import os
import random
import signal
import time
from collections import Counter

import pytest

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]

RUNGS = [5, 15, 45]


class Wreck:
    """A search whose drivers are killed again and again.

    After each death everything that the witness saw acknowledged must be in the ledger, and
    everything that a reader ever saw there must still be there as it was.
    """

    def __init__(self, project, name, trials, recorded_history):
        # Each pass waits, so that trials last long enough to be hit without keeping a core busy.
        cell = {"name": "slow_lstm", "hidden_size": 8, "wait_s": 0.02}
        cell["forget_bias"] = {"uniform": [0, 3]}
        self.space = project.space(name, cell=cell, search={"trials": trials})
        self.project, self.name, self.trials = project, name, trials
        self.recorded_history = recorded_history
        self.events = []
        self.lives = 0

    def begin(self):
        """A driver, by either of the two commands that start one."""
        words = ("search", self.space) if self.lives % 2 == 0 else ("resume", self.name)
        self.lives += 1
        return self.project.start(*words)

    def live_until(self, when):
        """A life that ends right after so many events, or after the first of a kind."""
        self.project.kill_after(when)
        driver = self.begin()
        while driver.running:
            driver.look()
            time.sleep(0.05)
        assert driver.popen.returncode == -signal.SIGKILL, driver.stderr
        self.bury(driver)

    def live_until_reported(self, delay_s):
        """A life that ends some time after its first rows."""
        driver = self.begin()
        self.project.await_witness(driver, lambda one: "row" in one)
        time.sleep(delay_s)
        driver.kill()
        self.bury(driver)

    def bury(self, driver):
        survivors = driver.survivors()
        driver.end()
        assert survivors == []
        self.check()

    def check(self):
        self.project.check_nothing_is_lost(self.name)
        self.events = self.project.ledger(self.name).events()

    def finish(self):
        driver = self.project.run("resume", self.name, "--json")
        assert driver.popen.returncode == 0, driver.stderr
        assert driver.json()["state"] == "completed"
        self.check()

    def check_whole(self, expected_history):
        """As if nothing had happened."""
        record = self.project.ledger(self.name).record()
        assert record.state == "completed"
        assert sorted(record.trials) == list(range(self.trials))
        assert record.counts()["completed"] + record.counts()["stopped"] == self.trials
        events = self.events
        kinds = Counter((event.trial, event.kind) for event in events)
        for number, trial in record.trials.items():
            assert kinds[number, "suggested"] == 1
            assert kinds[number, "finished"] + kinds[number, "stopped"] == 1
            steps = [e.data["step"] for e in events if (e.trial, e.kind) == (number, "reported")]
            assert steps == RUNGS[: len(steps)]
            recorded = self.recorded_history(self.project.ledger(self.name), number)
            assert recorded == expected_history(trial.config, steps)
        decisions = [e for e in events if e.kind == "reported"]
        stopped = {event.trial for event in decisions if event.data["decision"] == "stop"}
        assert stopped == {n for n, one in record.trials.items() if one.state == "stopped"}
        assert len(set(self.configurations(record))) == self.trials

    @staticmethod
    def configurations(record):
        return [
            json.dumps({key: value for key, value in trial.config.items() if key != "seed"})
            for trial in record.trials.values()
        ]


@pytest.fixture
def wreck(new_project, recorded_history):
    return lambda trials: Wreck(new_project(), "wreck", trials, recorded_history)


@pytest.mark.fault("driver", "SIGKILL of the driver, twice, resumed each time")
def test_a_search_survives_the_death_of_its_driver(
    wreck, expected_history, content_of, equals_ledger
):
    search = wreck(trials=5)
    search.live_until_reported(delay_s=0.4)
    search.live_until(6)
    search.finish()
    search.check_whole(expected_history)
    equals_ledger(content_of(search.project.tracking_uri), search.project.ledger(search.name))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [1])
@pytest.mark.fault("driver", "SIGKILL of the driver at ten random moments")
def test_a_search_survives_ten_deaths_of_its_driver(
    wreck, expected_history, content_of, equals_ledger, seed
):
    chance = random.Random(seed)
    search = wreck(trials=20)
    for life in range(10):
        if life % 2:
            search.live_until_reported(delay_s=chance.uniform(0, 1.5))
        else:
            search.live_until(chance.randint(1, 12))
    search.finish()
    search.check_whole(expected_history)
    equals_ledger(content_of(search.project.tracking_uri), search.project.ledger(search.name))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.fault("driver", "SIGKILL of the driver right after an event of each kind")
def test_a_driver_may_die_right_after_an_event_of_each_kind(wreck, expected_history):
    search = wreck(trials=20)
    kinds = ["reported done", "finished", "reported stop", "stopped", "reported continue"]
    for when in [*kinds, "started", "suggested", "opened"]:
        search.live_until(when)
        last = search.events[-1]
        assert last.kind == when.split()[0]
        assert last.data.get("decision") == (when.split()[1] if " " in when else None)
    search.finish()
    search.check_whole(expected_history)


@pytest.mark.fault("trial", "SIGKILL of a trial's process while it trains")
def test_a_trial_whose_process_is_killed_goes_on_from_its_checkpoint(
    wreck, expected_history, content_of, equals_ledger
):
    search = wreck(trials=3)
    driver = search.begin()
    point = search.project.await_witness(driver, lambda one: "row" in one)
    with search.project.held():
        assert point["pid"] != driver.popen.pid
        os.kill(point["pid"], signal.SIGKILL)
    assert driver.wait() == 0, driver.stderr
    search.check()
    search.check_whole(expected_history)
    ledger = search.project.ledger(search.name)
    assert sorted(one.attempts for one in ledger.record().trials.values()) == [1, 1, 2]
    assert "Traceback" not in driver.stderr
    # The second process wrote no point that the first one had written.
    rows = [one for one in search.project.witnessed() if "row" in one]
    assert len({one["pid"] for one in rows}) > 1
    for number, trial in ledger.record().trials.items():
        steps = [one["row"]["step"] for one in rows if one["trial"] == number]
        assert steps == list(range(5, trial.step + 1, 5))
    equals_ledger(content_of(search.project.tracking_uri), ledger)
