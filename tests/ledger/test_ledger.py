import math
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from longhaul.errors import RequestError
from longhaul.ledger import (
    Ledger,
    SearchExistsError,
    StorageError,
    StorageFullError,
    UnknownSearchError,
)

SPEC = "description: é\ntask: {name: copying}\n"


def test_a_search_is_created_and_opened(memory_path):
    created = Ledger.create(f"file://{memory_path}", "one", SPEC, {"python": "3.11"})
    ledger = Ledger.open(str(memory_path), "one")
    assert ledger.name == created.name == "one"
    assert ledger.spec_text() == SPEC
    assert ledger.environment() == {"python": "3.11"}
    assert ledger.events() == []
    assert ledger.record().trials == {}
    assert ledger.trial_numbers() == []
    assert Ledger.names(memory_path) == ["one"]
    assert Ledger.names(memory_path / "missing") == []


def test_a_name_is_given_once(memory_path):
    Ledger.create(memory_path, "one", SPEC, {})
    with pytest.raises(SearchExistsError, match="longhaul resume one"):
        Ledger.create(memory_path, "one", "other: 1\n", {"other": 1})
    assert Ledger.open(memory_path, "one").spec_text() == SPEC
    assert Ledger.open(memory_path, "one").environment() == {}


@pytest.mark.fault("twice", "many processes create one search at once")
def test_of_many_that_create_the_same_search_one_succeeds(memory_path):
    outcomes = []
    ready = threading.Barrier(6)

    def create(number):
        ready.wait()
        try:
            Ledger.create(memory_path, "one", f"n: {number}\n", {"n": number})
            outcomes.append(number)
        except SearchExistsError:
            pass

    threads = [threading.Thread(target=create, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [winner] = outcomes
    ledger = Ledger.open(memory_path, "one")
    assert ledger.spec_text() == f"n: {winner}\n"
    assert ledger.environment() == {"n": winner}


def test_a_misspelt_name_is_helped(memory_path):
    Ledger.create(memory_path, "copying-quick", SPEC, {})
    (memory_path / "not a search").mkdir()
    (memory_path / "empty").mkdir()
    with pytest.raises(UnknownSearchError, match="Did you mean 'copying-quick'") as raised:
        Ledger.open(memory_path, "copying-quik")
    assert "empty" not in str(raised.value)
    with pytest.raises(UnknownSearchError, match="no searches there"):
        Ledger.open(memory_path / "missing", "x")


@pytest.mark.parametrize("name", ["../other", "/etc", "a/b", "", ".", "..", "UPPER", "a\n"])
def test_a_name_cannot_leave_the_storage(memory_path, name):
    for operation in (
        lambda: Ledger.create(memory_path / "runs", name, SPEC, {}),
        lambda: Ledger.open(memory_path / "runs", name),
    ):
        with pytest.raises(RequestError):
            operation()
    assert list(memory_path.iterdir()) == []


def test_a_search_that_is_a_link_out_of_the_storage_is_refused(memory_path):
    Ledger.create(memory_path / "elsewhere", "one", SPEC, {})
    (memory_path / "runs").mkdir()
    (memory_path / "runs/one").symlink_to(memory_path / "elsewhere/one")
    with pytest.raises(RequestError, match="leaves the storage"):
        Ledger.open(memory_path / "runs", "one")


@pytest.mark.fault("torn-spec", "death at each operation of creating a search")
def test_a_creation_that_was_cut_short_can_be_repeated(memory_path, failing_storage, crash):
    from longhaul.ledger import LocalStorage

    for fail_at in range(4):
        root = failing_storage(LocalStorage(memory_path), fail_at=fail_at)
        name = f"search-{fail_at}"
        with pytest.raises(crash):
            Ledger.create(root, name, SPEC, {"a": 1})
        if fail_at == 0:
            assert name not in Ledger.names(memory_path)
            Ledger.create(memory_path, name, SPEC, {"a": 1})
        ledger = Ledger.open(memory_path, name)
        assert ledger.spec_text() == SPEC
        assert ledger.environment() in ({}, {"a": 1})
        with ledger.acquire(heartbeat_s=1000) as writer:
            writer.append("opened")


def test_everything_about_a_trial_comes_back(ledger):
    trial = ledger.trial(12)
    assert trial.config() is None
    assert trial.environment() is None
    assert trial.result() is None
    assert trial.error() is None
    assert trial.weights() is None
    config = {"task": {"name": "copying", "delay": 100}, "cell": {"a": 1e-3, "b": [1, None, "é"]}}
    trial.write_config(config)
    trial.write_environment({"threads": 1})
    trial.write_result({"value": math.inf, "step": 3})
    trial.write_error("Traceback …")
    trial.write_weights(b"\0\1")
    again = Ledger.open(Path(ledger.storage.uri).parent, ledger.name).trial(12)
    assert again.config() == config
    assert list(again.config()) == ["task", "cell"]
    assert again.environment() == {"threads": 1}
    assert again.result() == {"value": math.inf, "step": 3}
    assert again.error() == "Traceback …"
    assert again.weights() == b"\0\1"
    assert ledger.trial_numbers() == [12]
    ledger.trial(123456).write_error("")
    assert ledger.trial_numbers() == [12, 123456]


@pytest.mark.parametrize("name", ["config.yaml", "result.json", "environment.json"])
@pytest.mark.fault("torn-spec", "damaged records of a trial")
def test_a_damaged_file_is_named(ledger, name):
    trial = ledger.trial(1)
    ledger.storage.write(f"trials/00001/{name}", b"\xff{[")
    with pytest.raises(StorageError, match=name):
        getattr(trial, name.partition(".")[0])()


def test_a_ledger_can_be_sent_to_another_process(ledger):
    with ledger.acquire(heartbeat_s=1000) as writer:
        writer.append("opened")
        ledger.record()
        copy = pickle.loads(pickle.dumps(ledger))
        assert copy.events() == ledger.events()
        pickle.loads(pickle.dumps(ledger.trial(1))).write_error("x")
        assert ledger.trial(1).error() == "x"


@pytest.mark.fault("disk", "the disk fills up while events are written")
def test_a_full_disk_costs_no_event(tiny_disk, fill, temporaries):
    ledger = Ledger.create(tiny_disk / "runs", "s", SPEC, {})
    with ledger.acquire(heartbeat_s=0.02) as writer:
        for number in range(10):
            writer.append("reported", 1, n=number)
        free = fill(tiny_disk)
        for _ in range(3):
            with pytest.raises(StorageFullError, match="no space left"):
                writer.append("reported", 1, n=10)
            assert len(ledger.events()) == 10
        free()
        assert writer.append("reported", 1, n=10).sequence == 10
        free = fill(tiny_disk)
    # Neither the heartbeat nor giving up the lease could be written.
    with pytest.raises(StorageFullError):
        ledger.acquire()
    assert [event.data["n"] for event in ledger.events()] == list(range(11))
    free()
    with ledger.acquire(patience_s=1000) as writer:
        assert writer.append("reported", 1, n=11).sequence == 11
    assert [event.data["n"] for event in ledger.events()] == list(range(12))
    assert not temporaries(tiny_disk)


@pytest.mark.fault("disk", "the disk fills up in the course of events")
def test_a_disk_that_fills_up_in_the_course_of_events(tiny_disk):
    """Merging needs space too; it is put off until there is some."""
    ledger = Ledger.create(tiny_disk / "runs", "s", SPEC, {})
    ballast = tiny_disk / "ballast"
    ballast.write_bytes(b"x" * 500_000)
    written = 0
    with ledger.acquire(heartbeat_s=1000) as writer:
        for _ in range(2000):
            try:
                writer.append("reported", 1, n=written, pad="x" * 3000)
            except StorageFullError:
                if not ballast.exists():
                    break
                ballast.unlink()
            else:
                written += 1
        else:
            pytest.fail("the disk was never full")
        assert [event.data["n"] for event in ledger.events()] == list(range(written))
    assert [event.data["n"] for event in ledger.events()] == list(range(written))
    assert not ballast.exists()


WRITER = """
import sys
from longhaul.ledger import Ledger, segments
segments.MERGE_AFTER, segments.FAN_OUT, segments.LARGEST = 6, 3, 200
with Ledger.open(sys.argv[1], sys.argv[2]).acquire() as writer:
    for number in range(int(sys.argv[3])):
        writer.append("reported", number % 5, step=number, value=0.5, decision="continue")
        print(number, flush=True)
"""


def test_a_reader_beside_the_writer_sees_no_gap(ledger):
    count = 1500
    command = [sys.executable, "-c", WRITER, Path(ledger.storage.uri).parent, ledger.name]
    acknowledged = [-1]
    with subprocess.Popen([*map(str, command), str(count)], stdout=subprocess.PIPE) as process:

        def listen():
            for line in process.stdout:
                acknowledged[0] = int(line)

        listener = threading.Thread(target=listen)
        listener.start()
        follower, rounds, followed = Ledger(ledger.storage, ledger.name), 0, []
        while process.poll() is None:
            before = acknowledged[0]
            found = [event.sequence for event in Ledger(ledger.storage, ledger.name).events()]
            assert found == list(range(len(found)))
            assert len(found) > before
            after = followed[-1] if followed else -1
            followed += [event.sequence for event in follower.events(after=after)]
            assert followed == list(range(len(followed)))
            assert follower.record().last_event >= before
            rounds += 1
        listener.join()
    assert process.returncode == 0
    assert rounds > 3
    assert [event.sequence for event in ledger.events()] == list(range(count))
    assert ledger.record().steps_trained == sum(range(count - 5, count))


def test_reading_and_events_need_no_heavy_import():
    script = """
import sys
import longhaul.ledger
heavy = {"pyarrow", "numpy", "torch", "ray", "mlflow", "optuna", "yaml"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", script], check=True)
