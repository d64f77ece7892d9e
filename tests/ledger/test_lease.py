import json
import os
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from longhaul.ledger import Ledger, Owner, SearchOwnedError, StaleOwnerError
from longhaul.ledger.lease import Lease, heartbeat_path, lease_path, read_lease, write_lease

CHILD = """
import sys
from longhaul.errors import LonghaulError
from longhaul.ledger import Ledger
with Ledger.open(sys.argv[1], sys.argv[2]).acquire() as writer:
    print("ready", flush=True)
    for line in sys.stdin:
        try:
            print(writer.append("reported", 1, n=line.strip()).sequence, flush=True)
        except LonghaulError as error:
            print(type(error).__name__, flush=True)
"""


class Child:
    def __init__(self, ledger):
        root = Path(ledger.storage.uri).parent
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(root), ledger.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout.readline() == "ready\n"

    def send(self, text):
        self.process.stdin.write(f"{text}\n")
        self.process.stdin.flush()

    def append(self, text):
        self.send(text)
        return self.process.stdout.readline().strip()


@pytest.fixture
def child(ledger):
    running = Child(ledger)
    yield running
    running.process.kill()
    running.process.wait()


def contents(ledger):
    return [event.data["n"] for event in Ledger(ledger.storage, ledger.name).events()]


def elsewhere(**changes):
    """An owner whose process cannot be looked at from here."""
    return replace(Owner.here(), host="other-host", user="ada", pid=4711, **changes)


def test_a_living_owner_is_named(ledger, child):
    assert child.append("a") == "0"
    with pytest.raises(SearchOwnedError) as raised:
        ledger.acquire()
    message = str(raised.value)
    assert str(child.process.pid) in message
    assert socket.gethostname() in message
    assert f"longhaul stop {ledger.name}" in message
    assert raised.value.owner.pid == child.process.pid
    assert child.append("b") == "1"
    assert ledger.record().state == "running"
    assert ledger.is_owned()


def test_a_killed_owner_is_followed_at_once(ledger, child):
    assert child.append("a") == "0"
    child.process.kill()
    child.process.wait()
    assert ledger.record().state == "interrupted"
    with ledger.acquire(patience_s=1000) as writer:
        assert writer.fence == 2
        assert writer.append("reported", 1, n="b").sequence == 1
    assert contents(ledger) == ["a", "b"]


def test_a_killed_owner_whose_parent_has_not_noticed_is_dead(ledger, child):
    os.kill(child.process.pid, signal.SIGKILL)
    os.waitid(os.P_PID, child.process.pid, os.WEXITED | os.WNOWAIT)  # stays a zombie
    assert not ledger.is_owned()
    with ledger.acquire(patience_s=1000):
        pass


def test_an_owner_that_ended_is_followed_at_once(ledger, child):
    child.append("a")
    child.process.stdin.close()
    child.process.wait()
    assert ledger.lease().released
    with ledger.acquire(patience_s=1000) as writer:
        assert writer.fence == 2


@pytest.mark.fault("two-drivers", "SIGSTOP of an owner, a takeover, SIGCONT")
def test_a_stopped_owner_is_superseded_and_cannot_come_back(ledger, child):
    assert child.append("a") == "0"
    child.process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, child.process.pid, os.WSTOPPED)
    child.send("late")
    with ledger.acquire(patience_s=0.3) as writer:
        assert writer.append("reported", 1, n="b").sequence == 1
        child.process.send_signal(signal.SIGCONT)
        assert child.process.stdout.readline() == "StaleOwnerError\n"
        assert child.append("later") == "StaleOwnerError"
        writer.append("reported", 1, n="c")
        folder = ledger.trial(1)
        with pytest.raises(StaleOwnerError):
            folder.append_history([{"step": 1}], fence=1)
        folder.append_history([{"step": 1}], fence=2)
    # What the stale one releases is not ours.
    child.process.stdin.close()
    assert child.process.wait() == 0
    assert contents(ledger) == ["a", "b", "c"]
    assert ledger.lease().fence == 2


def test_an_owner_elsewhere_is_dead_when_its_heartbeat_stands_still(ledger):
    first = ledger.acquire(elsewhere(), heartbeat_s=0.05)
    with pytest.raises(SearchOwnedError, match="ada on other-host"):
        ledger.acquire(patience_s=5)
    first._heartbeat.stop()
    second = ledger.acquire(patience_s=0.3)
    with pytest.raises(StaleOwnerError, match="taken over by"):
        first.append("opened")
    second.append("opened")
    first.close()
    second.close()
    assert ledger.lease().released


def test_an_owner_elsewhere_that_gives_up_meanwhile_is_followed(ledger):
    first = ledger.acquire(elsewhere(), heartbeat_s=1000)
    threading.Timer(0.2, first.close).start()
    with ledger.acquire(patience_s=100) as second:
        assert second.fence == 2


@pytest.mark.parametrize("step_s", [-7200, 7200])
@pytest.mark.fault("clock", "the clock steps back and forth by hours")
def test_the_clock_decides_nothing(ledger, monkeypatch, step_s):
    import time

    real = time.time
    first = ledger.acquire(elsewhere(), heartbeat_s=0.05)
    monkeypatch.setattr(time, "time", lambda: real() + step_s)
    for file in Path(ledger.storage.uri, "owner").iterdir():
        os.utime(file, (1, 1))
    with pytest.raises(SearchOwnedError):
        ledger.acquire(patience_s=5)
    first.close()


def test_a_process_number_given_out_again_is_not_the_owner(ledger):
    mine = Owner.here()
    first = ledger.acquire(replace(mine, process_start=mine.process_start - 1), heartbeat_s=1000)
    with ledger.acquire(patience_s=1000) as second:
        with pytest.raises(StaleOwnerError):
            first.append("opened")
        second.append("opened")


def test_a_process_of_an_earlier_boot_is_judged_by_its_heartbeat(ledger):
    first = ledger.acquire(replace(Owner.here(), machine="earlier/boot"), heartbeat_s=0.05)
    with pytest.raises(SearchOwnedError):
        ledger.acquire(patience_s=5)
    first.close()


def test_this_process_is_not_its_own_successor(ledger):
    first = ledger.acquire()
    with pytest.raises(SearchOwnedError):
        ledger.acquire()
    first.close()
    with ledger.acquire():
        pass


def test_a_lease_that_could_not_be_released_does_not_lock_this_process_out(ledger, monkeypatch):
    from longhaul.ledger import StorageFullError

    first = ledger.acquire()
    monkeypatch.setattr(
        type(ledger.storage),
        "write",
        lambda *_: (_ for _ in ()).throw(StorageFullError("full")),
    )
    first.close()
    monkeypatch.undo()
    assert not ledger.lease().released
    with ledger.acquire(patience_s=1000) as second:
        assert second.fence == 2


def test_force_takes_it_from_a_living_one(ledger):
    first = ledger.acquire()
    with ledger.acquire(force=True) as second:
        with pytest.raises(StaleOwnerError):
            first.append("opened")
        assert ledger.storage.list("events") == []  # nothing was written
        with pytest.raises(StaleOwnerError):
            first.check()
        second.append("opened")
        second.check()


def test_a_superseded_owner_tidies_nothing_up(ledger):
    first = ledger.acquire(heartbeat_s=1000)
    for number in range(3):
        first.append("reported", 1, n=number)
    with ledger.acquire(force=True, heartbeat_s=1000) as second:
        first.close()
        assert len(ledger.storage.list("events")) == 3
        assert not ledger.lease().released
        second.append("reported", 1, n=3)
    assert contents(ledger) == [0, 1, 2, 3]


@pytest.mark.fault("two-drivers", "many processes take over at once")
def test_of_many_successors_exactly_one_succeeds(ledger):
    ledger.acquire(elsewhere(), heartbeat_s=1000)
    outcomes = []

    def take():
        view = Ledger(ledger.storage, ledger.name)
        try:
            outcomes.append(view.acquire(patience_s=0.2))
        except SearchOwnedError:
            outcomes.append(None)

    threads = [threading.Thread(target=take) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [winner] = [outcome for outcome in outcomes if outcome]
    assert winner.fence == 2
    winner.append("opened")
    winner.close()


def test_an_event_written_in_the_middle_of_a_takeover_is_not_acknowledged(ledger, open_failing):
    # The old owner looks, finds no newer lease, and is held up until another one has taken over.
    old_view = open_failing(ledger)
    old = old_view.acquire(elsewhere(), heartbeat_s=1000)
    old.append("reported", 1, n="a")
    taken = []

    def take_over(*_):
        taken.append(ledger.acquire(patience_s=0))
        taken[0].append("reported", 1, n="b")

    old_view.storage.before["write"] = take_over
    with pytest.raises(StaleOwnerError):
        old.append("reported", 1, n="ghost")
    assert len(os.listdir(Path(ledger.storage.uri, "events"))) == 3  # the ghost is there
    assert contents(ledger) == ["a", "b"]
    taken[0].append("reported", 1, n="c")
    assert contents(ledger) == ["a", "b", "c"]
    taken[0].close()
    with ledger.acquire():
        pass
    assert contents(ledger) == ["a", "b", "c"]


def test_an_event_that_lands_before_the_new_owner_looks_counts_for_everybody(ledger, open_failing):
    old_view, new_view = open_failing(ledger), open_failing(ledger)
    old = old_view.acquire(elsewhere(), heartbeat_s=1000)
    old.append("reported", 1, n="a")
    taken = []

    def take_over(path, data):
        # The new owner has its lease and is about to look when the old one's write gets through.
        new_view.storage.before["list", "events"] = lambda: ledger.storage.write(path, data)
        taken.append(new_view.acquire(patience_s=0))

    old_view.storage.before["write"] = take_over
    with pytest.raises(StaleOwnerError):
        old.append("reported", 1, n="late")
    assert taken[0].lease.follows == 1
    assert taken[0].append("reported", 1, n="b").sequence == 2
    assert contents(ledger) == ["a", "late", "b"]


def test_a_ghost_beyond_the_next_owners_events_is_never_seen(ledger, open_failing):
    old_view = open_failing(ledger)
    old = old_view.acquire(elsewhere(), heartbeat_s=1000)
    old_view.storage.before["write"] = lambda *_: ledger.acquire(patience_s=0).close()
    with pytest.raises(StaleOwnerError):
        old.append("reported", 1, n="ghost")
    reader = Ledger(ledger.storage, ledger.name)
    assert reader.events() == []
    with ledger.acquire() as writer:
        writer.append("reported", 1, n="real")
    assert [event.data["n"] for event in reader.events()] == ["real"]


def test_an_owner_that_died_before_it_looked_cuts_nothing_off(ledger, crash, open_failing):
    with ledger.acquire() as writer:
        writer.append("reported", 1, n="a")
    doomed = open_failing(ledger, fail_at=2)  # after its lease, before `follows`
    with pytest.raises(crash):
        doomed.acquire(elsewhere(), heartbeat_s=1000)
    assert ledger.lease().fence == 2
    assert ledger.lease().follows is None
    assert contents(ledger) == ["a"]
    with ledger.acquire(patience_s=0) as writer:
        assert writer.fence == 3
        assert writer.append("reported", 1, n="b").sequence == 1
    assert contents(ledger) == ["a", "b"]


@pytest.mark.fault("torn-spec", "each byte of a lease changed")
def test_a_changed_byte_of_a_lease_hides_no_event(ledger, caplog):
    for number in range(3):
        with ledger.acquire(heartbeat_s=1000) as writer:
            writer.append("reported", 1, n=number)
    file = Path(ledger.storage.uri) / lease_path(2)
    whole = file.read_bytes()
    for position in range(len(whole)):
        broken = bytearray(whole)
        broken[position] ^= 0x02
        file.write_bytes(broken)
        lease = read_lease(ledger.storage, 2)
        # White space may change without changing what is said.
        assert lease.follows == 0 if lease.owner else lease == Lease(2)
    assert contents(ledger) == [0, 1, 2]


def test_an_unreadable_newest_lease_is_judged_by_its_heartbeat(ledger):
    first = ledger.acquire(heartbeat_s=0.05)
    first.append("reported", 1, n="a")
    file = Path(ledger.storage.uri) / lease_path(1)
    file.write_bytes(b"{}")
    with pytest.raises(SearchOwnedError, match="unknown process"):
        ledger.acquire(patience_s=5)
    first._heartbeat.stop()
    with ledger.acquire(patience_s=0.2) as second:
        assert second.fence == 2
        with pytest.raises(StaleOwnerError):
            first.append("opened")
    assert contents(ledger) == ["a"]


def test_a_lease_of_a_later_version_with_more_about_the_owner_is_read(ledger):
    with ledger.acquire(heartbeat_s=1000) as writer:
        lease = writer.lease
    write_lease(ledger.storage, lease)
    assert read_lease(ledger.storage, 1) == lease
    record = json.loads(Path(ledger.storage.uri, lease_path(1)).read_text())
    assert record["format"] == 1


def test_credentials_in_the_command_line_are_not_recorded():
    owner = Owner.here("longhaul search x --tracking-uri http://ada:hunter2@host/mlflow")
    assert "hunter2" not in str(owner)
    assert "host/mlflow" in owner.command


def test_the_heartbeat_counts(ledger):
    writer = ledger.acquire(heartbeat_s=0.02)
    seen = set()
    waiting = threading.Event()
    for _ in range(500):
        seen.add(ledger.storage.read(heartbeat_path(1)))
        if len(seen) >= 3:
            break
        waiting.wait(0.01)
    writer.close()
    assert len(seen) >= 3
    last = ledger.storage.read(heartbeat_path(1))
    waiting.wait(0.1)
    assert ledger.storage.read(heartbeat_path(1)) == last
