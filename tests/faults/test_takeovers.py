"""A driver that stands still while another one takes its search over; clocks that disagree."""

import os
import signal
import subprocess
import sys

import pytest

from longhaul.ledger import Ledger

CELL = {"name": "slow_lstm", "hidden_size": 8, "wait_s": 0.05}
CELL["forget_bias"] = {"uniform": [0, 3]}
SESSION = """
import sys, time
from longhaul.ledger import Ledger
if len(sys.argv) > 3:  # this machine's clock is wrong by so many seconds
    real = time.time
    time.time = lambda: real() + float(sys.argv[3])
    time.tzset()
ledger = Ledger.open(sys.argv[1], "s")
with ledger.acquire() as writer:
    for number in range(3):
        writer.append("opened", note=f"{sys.argv[2]} {number}")
print(ledger.record().last_event)
"""
ZONES = ["Asia/Tokyo", "UTC", "America/Los_Angeles", "XYZ-14:00", "XYZ+12:00", "Europe/London"]


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.fault("two-drivers", "SIGSTOP of a driver, a second one takes over, SIGCONT")
def test_a_driver_that_stood_still_is_superseded_and_says_so(new_project, invariants):
    project = new_project()
    space = project.space("stale", cell=CELL, search={"trials": 4})
    first = project.start("search", space, "--json")
    project.await_witness(first, lambda one: "row" in one)
    first.look()
    first.send(signal.SIGSTOP)
    second = project.start("resume", "stale", "--json")
    project.await_witness(second, lambda one: one.get("kind") == "reported")
    first.send(signal.SIGCONT)
    assert first.wait() == 1, first.stderr
    assert "taken over" in first.stderr + first.stdout
    assert "Traceback" not in first.stderr
    assert second.wait() == 0, second.stderr
    invariants.hold(project, "stale", 4, second)
    fences = [event.fence for event in project.ledger("stale").events()]
    assert fences == sorted(fences)
    invariants.delivered(project, "stale")


@pytest.mark.fault("clock", "drivers one after another in other time zones, hours apart by clock")
def test_sessions_in_other_time_zones_follow_each_other(tmp_path):
    ledger = Ledger.create(tmp_path, "s", "a: 1", {})
    expected = []
    for number, zone in enumerate(ZONES):
        skew_s = str((-1) ** number * 3600 * number)
        words = [sys.executable, "-P", "-c", SESSION, str(tmp_path), zone, skew_s]
        done = subprocess.run(
            words, env=os.environ | {"TZ": zone}, capture_output=True, text=True, check=True
        )
        expected += [f"{zone} {n}" for n in range(3)]
        assert int(done.stdout) == len(expected) - 1
    events = ledger.events()
    assert [event.data["note"] for event in events] == expected
    assert [event.sequence for event in events] == list(range(len(expected)))
    assert {event.time.utcoffset().total_seconds() for event in events} == {0.0}
