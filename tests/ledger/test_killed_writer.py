import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from longhaul.ledger import Ledger

CHILD = """
import sys
from longhaul.ledger import Ledger, segments
segments.MERGE_AFTER, segments.FAN_OUT, segments.LARGEST = 4, 3, 36  # merges all the time
with Ledger.open(sys.argv[1], sys.argv[2]).acquire() as writer:
    folder = writer.append("opened") and Ledger.open(sys.argv[1], sys.argv[2]).trial(0)
    number = 0
    while True:
        event = writer.append("reported", 0, n=number, pad="x" * (number % 300))
        sys.stdout.write(f"{event.sequence} {event.fence} {number}\\n")
        sys.stdout.flush()
        number += 1
"""


def one_life(ledger, delay_s):
    """Runs a writer and kills it; the events that it acknowledged."""
    root = Path(ledger.storage.uri).parent
    command = [sys.executable, "-c", CHILD, str(root), ledger.name]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        first = process.stdout.readline()
        time.sleep(delay_s)
        process.kill()
        rest = process.stdout.read()
    lines = (first + rest).split(b"\n")[:-1]  # what has no newline was not acknowledged
    return [tuple(map(int, line.split())) for line in lines]


def check_many_lives(ledger, rounds, seed, temporaries):
    delays = random.Random(seed)
    acknowledged = []
    for fence in range(1, rounds + 1):
        told = one_life(ledger, delays.uniform(0, 0.3))
        assert told
        assert {one[1] for one in told} == {fence}
        acknowledged += told
        events = Ledger(ledger.storage, ledger.name).events()
        assert [event.sequence for event in events] == list(range(len(events)))
        found = [(e.sequence, e.fence, e.data["n"]) for e in events if e.kind == "reported"]
        assert set(acknowledged) <= set(found)
        # In each life at most the event in hand is there without having been acknowledged, and an
        # `opened` at most before a death that came before its first report.
        assert len(found) - len(acknowledged) <= fence
    with ledger.acquire() as writer:
        assert writer.append("closed").sequence == len(events)
    assert not temporaries(ledger.storage.uri)


@pytest.mark.fault("driver", "SIGKILL of a process that writes events as fast as it can")
def test_what_a_killed_writer_acknowledged_is_there(ledger, temporaries):
    check_many_lives(ledger, 5, 1, temporaries)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.fault("driver", "the same over many lives")
def test_what_a_killed_writer_acknowledged_is_there_over_many_lives(ledger, temporaries, seed):
    check_many_lives(ledger, 20, seed, temporaries)


@pytest.mark.slow
@pytest.mark.fault("driver", "the same on a disk")
def test_what_a_killed_writer_acknowledged_is_on_a_disk_too(tmp_path, temporaries):
    check_many_lives(Ledger.create(tmp_path, "s", "task: x\n", {}), 20, 7, temporaries)
