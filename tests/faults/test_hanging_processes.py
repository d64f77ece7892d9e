"""What ends a process that hangs: in Python, in C, or stopped by a signal."""

import os
import signal
import subprocess
import sys
import time

import pytest

from longhaul.ledger import Ledger
from longhaul.search.guardian import stalled

DEADLINE_S = 1.0
PATIENCE_S = 60.0
TRIAL = """
import ctypes, os, sys, time
from longhaul.ledger import Ledger
from longhaul.search.guardian import Guardian

guardian = Guardian(Ledger.open(sys.argv[1], "s"), {deadline_s})
for _ in range(3):
    guardian.alive(7)
    time.sleep({deadline_s} / 2)
print("points", flush=True)
{then}
"""
HANGS = {
    "in Python": "time.sleep(600)",
    # PyDLL keeps the interpreter's lock: no thread of this process could do anything.
    "in C that holds the lock": "ctypes.PyDLL(None).sleep(600)",
    "by SIGSTOP": "os.kill(os.getpid(), 19)",
}
LIVES = {
    "rests": "guardian.rest(); time.sleep(3); print('alive', flush=True)",
    "goes on": "for _ in range(12): time.sleep(0.25); guardian.alive(7)\n"
    "print('alive', flush=True)",
    "ends": "print('alive', flush=True)",
}


@pytest.fixture
def ledger(tmp_path):
    return Ledger.create(tmp_path, "s", "a: 1", {})


def start(tmp_path, then):
    code = TRIAL.format(deadline_s=DEADLINE_S, then=then)
    words = [sys.executable, "-P", "-c", code, str(tmp_path)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def guardians_of(pid):
    path = f"/proc/{pid}/task/{pid}/children"
    with open(path) as file:
        return [int(child) for child in file.read().split()]


@pytest.mark.fault("hang", "the process of a trial hangs in Python, in C, or is stopped")
@pytest.mark.parametrize("hang", HANGS)
def test_a_process_that_hangs_is_ended_and_says_why(tmp_path, ledger, hang):
    with start(tmp_path, HANGS[hang]) as process:
        try:
            assert process.wait(PATIENCE_S) == -signal.SIGKILL
        finally:
            process.kill()
        assert process.stdout.read() == "points\n"
    assert ledger.trial(7).error() == stalled(DEADLINE_S)


@pytest.mark.parametrize("life", LIVES)
def test_one_that_lives_is_left_alone_and_takes_its_guardian_along(tmp_path, ledger, life):
    with start(tmp_path, LIVES[life]) as process:
        assert process.stdout.readline() == "points\n"
        children = guardians_of(process.pid) if life != "ends" else []
        assert process.wait(PATIENCE_S) == 0
        assert process.stdout.read() == "alive\n"
    deadline = time.monotonic() + PATIENCE_S
    while any(os.path.exists(f"/proc/{one}") for one in children):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert ledger.trial(7).error() is None


def test_a_guardian_that_is_stopped_does_not_stop_the_trial(tmp_path, ledger):
    flood = "import signal; [g] = [int(c) for c in open(f'/proc/self/task/{os.getpid()}/children')"
    flood += ".read().split()]; os.kill(g, signal.SIGSTOP)\n"
    flood += "for _ in range(100_000): guardian.alive(7)\nprint('alive', flush=True)\n"
    flood += "os.kill(g, signal.SIGKILL); guardian.alive(7); guardian.alive(7)"
    with start(tmp_path, flood) as process:
        try:
            assert process.wait(PATIENCE_S) == 0
        finally:
            process.kill()
        assert process.stdout.read() == "points\nalive\n"
