"""Signals to a running search: ended in order, at once, or by a second driver that is refused."""

import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
import threading
import time
from contextlib import suppress

import pytest

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]

TRIALS = 8


class Story:
    """One search through all interruptions; each starts where the last one left it."""

    def __init__(self, project):
        cell = {"name": "slow_lstm", "hidden_size": 8, "wait_s": 0.05}
        cell["forget_bias"] = {"uniform": [0, 3]}
        self.project = project
        self.space = project.space("story", cell=cell, search={"trials": TRIALS})
        self.search = ("search", self.space)
        self.resume = ("resume", "story")

    def await_rows(self, driver):
        self.project.await_witness(driver, lambda one: "row" in one)

    def ledger(self):
        return self.project.ledger("story")

    def check_interrupted(self):
        """Nothing ended that did not, and nobody owns it."""
        ledger = self.ledger()
        record = ledger.record()
        assert record.state == "interrupted"
        assert not ledger.is_owned()
        for trial in record.trials.values():
            if trial.state == "stopped":
                assert trial.decision == "stop"
            assert trial.state not in ("failed", "diverged")
            assert trial.state != "completed" or trial.step == 45
        return record


@pytest.fixture(scope="module")
def story(new_project):
    return Story(new_project())


@pytest.fixture(scope="module")
def interrupted(story):
    """Ctrl-C at a real terminal, which sends it to everything in the foreground."""
    terminal, end = pty.openpty()
    environment = story.project.environment() | {"TERM": "xterm", "COLUMNS": "200"}
    driver = subprocess.Popen(
        [sys.executable, "-P", "-m", "longhaul", *story.search],
        cwd=story.project.folder,
        env=environment,
        stdin=end,
        stdout=end,
        stderr=end,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(end)
    shown = []
    reader = threading.Thread(target=read_all, args=(terminal, shown))
    reader.start()
    try:
        deadline = time.monotonic() + 240
        while not any("row" in one for one in story.project.witnessed()):
            assert driver.poll() is None, shown
            assert time.monotonic() < deadline, shown
            time.sleep(0.02)
        with story.project.held():
            refused = story.project.run(*story.search)
            assert driver.poll() is None, shown
            os.write(terminal, b"\x03")
            status = driver.wait(240)
    finally:
        if driver.poll() is None:
            driver.kill()
            driver.wait()
        reader.join(60)
        os.close(terminal)
    return status, "".join(shown), driver.pid, refused


def read_all(terminal, shown):
    with suppress(OSError):  # the other end is closed
        while True:
            shown.append(os.read(terminal, 65536).decode(errors="replace"))


@pytest.mark.fault("signals", "Ctrl-C at a terminal")
def test_ctrl_c_ends_in_order_and_says_how_to_go_on(story, interrupted):
    status, shown, _, _ = interrupted
    assert status == 130, shown
    assert "longhaul resume story" in shown
    assert "Traceback" not in shown
    assert story.ledger().events()[-1].kind == "interrupted"


@pytest.mark.fault("two-drivers", "a second driver while the first one runs")
def test_a_second_driver_is_refused_and_the_first_goes_on(interrupted):
    _, _, pid, refused = interrupted
    assert refused.popen.returncode == 2
    assert f"process {pid}" in refused.stderr
    assert refused.stdout == ""


@pytest.fixture(scope="module")
def terminated(story, interrupted):
    record = story.check_interrupted()
    driver = story.project.start(*story.resume, "--json")
    story.await_rows(driver)
    with story.project.held():
        driver.look()
        driver.send(signal.SIGTERM)
        return driver.wait(), driver, record


@pytest.mark.fault("signals", "SIGTERM while trials train")
def test_sigterm_ends_in_order_too(story, terminated):
    status, driver, before = terminated
    assert status == 130, driver.stderr
    result = driver.json()
    assert result["state"] == "interrupted"
    assert result["next"]["resume"] == "longhaul resume story"
    events = story.ledger().events()
    assert [event.kind for event in events].count("interrupted") == 2
    assert events[-1].kind == "interrupted"
    ended = [number for number, one in before.trials.items() if one.ended]
    again = [event.trial for event in events if event.sequence > before.last_event]
    assert not set(ended) & set(again)
    assert driver.survivors() == []


@pytest.fixture(scope="module")
def left_at_once(story, terminated):
    story.check_interrupted()
    driver = story.project.start(*story.resume)
    story.await_rows(driver)
    with story.project.held():
        driver.look()
        driver.send(signal.SIGINT)
        deadline = time.monotonic() + 60
        while "interrupted" not in driver.stderr and time.monotonic() < deadline:
            time.sleep(0.01)
        driver.send(signal.SIGINT)
        return driver.wait(), driver


@pytest.mark.fault("signals", "a second SIGINT")
def test_a_second_ctrl_c_leaves_at_once_and_leaves_nothing_running(story, left_at_once):
    status, driver = left_at_once
    assert status == 130
    assert driver.survivors() == []
    story.check_interrupted()


@pytest.mark.fault("signals", "three interruptions of one search")
def test_a_search_that_was_interrupted_three_times_completes(
    story, left_at_once, expected_history, recorded_history
):
    driver = story.project.run(*story.resume, "--json")
    assert driver.popen.returncode == 0, driver.stderr
    ledger = story.ledger()
    record = ledger.record()
    assert record.state == "completed"
    assert sorted(record.trials) == list(range(TRIALS))
    events = ledger.events()
    for number, trial in record.trials.items():
        assert trial.state in ("completed", "stopped")
        steps = [e.data["step"] for e in events if (e.trial, e.kind) == (number, "reported")]
        assert steps == [5, 15, 45][: len(steps)]
        assert recorded_history(ledger, number) == expected_history(trial.config, steps)


@pytest.mark.fault("signals", "SIGTERM while Ray starts")
def test_sigterm_while_ray_starts_ends_in_order(new_project):
    project = new_project()
    driver = project.start("search", project.space("early"))
    deadline = time.monotonic() + 240
    while "starting Ray" not in driver.stderr and time.monotonic() < deadline:
        time.sleep(0.01)
    driver.send(signal.SIGTERM)
    assert driver.wait() == 130, driver.stderr
    assert project.ledger("early").record().state == "interrupted"
    assert "longhaul resume early" in driver.stdout
