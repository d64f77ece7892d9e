import math
import os
import threading
from datetime import UTC, datetime
from pathlib import Path

import numpy
import pyarrow
import pyarrow.parquet
import pytest

from longhaul.ledger import StaleOwnerError
from longhaul.ledger import history as history_module

START = datetime(2026, 1, 1, tzinfo=UTC)


def row(step, **metrics):
    return {"step": step, "time": START, **metrics}


@pytest.fixture
def trial(ledger):
    return ledger.trial(3)


def segments(ledger):
    return Path(ledger.storage.uri) / "trials/00003/history"


def steps(ledger, after=-1):
    return ledger.trial(3).history(after)["step"].to_pylist()


def test_a_trial_without_history_has_an_empty_one(trial):
    table = trial.history()
    assert table.num_rows == 0
    assert table.schema == pyarrow.schema(
        {"step": pyarrow.int64(), "time": pyarrow.timestamp("us", "UTC")}
    )
    trial.merge_history()
    trial.append_history([], fence=1)
    assert trial.history().num_rows == 0


def test_rows_come_back_with_nan_infinity_and_null_told_apart(trial, ledger):
    trial.append_history([row(1, a=1.5), row(2, a=math.nan, b=None)], fence=1)
    trial.append_history([row(3, b=math.inf, c=7), row(4, a=-math.inf, c=True)], fence=1)
    trial.append_history([row(5, d=numpy.float32(0.5))], fence=1)
    for merged in (False, True):
        if merged:
            trial.merge_history()
            assert len(os.listdir(segments(ledger))) == 1
        table = trial.history()
        assert table.schema.names == ["step", "time", "a", "b", "c", "d"]
        assert {table.schema.field(name).type for name in "abcd"} == {pyarrow.float64()}
        assert repr(table.to_pydict()["a"]) == "[1.5, nan, None, -inf, None]"
        assert repr(table.to_pydict()["b"]) == "[None, None, inf, None, None]"
        assert repr(table.to_pydict()["c"]) == "[None, None, 7.0, 1.0, None]"
        assert repr(table.to_pydict()["d"]) == "[None, None, None, None, 0.5]"
        assert table["time"][0].as_py() == START
        assert trial.history(3).to_pydict()["step"] == [4, 5]


def test_a_row_without_a_time_has_one(trial):
    before = datetime.now(UTC)
    trial.append_history([{"step": 1, "a": 0.5}], fence=1)
    assert before <= trial.history()["time"][0].as_py() <= datetime.now(UTC)


@pytest.mark.parametrize(
    "bad",
    [{"a": 1.0}, {"step": 1.5}, {"step": -1}, {"step": "x"}, {"step": 1, "a": "x"}, {"step": None}],
)
def test_a_row_that_makes_no_sense_is_refused(trial, bad):
    with pytest.raises(ValueError, match="history row"):
        trial.append_history([bad], fence=1)
    assert trial.history().num_rows == 0


def test_the_first_write_of_a_step_wins_and_rows_are_sorted(ledger):
    trial = ledger.trial(3)
    trial.append_history([row(3, a=3.0), row(1, a=1.0)], fence=1)
    trial.append_history([row(2, a=2.0), row(3, a=33.0)], fence=1)
    # After a crash another process, under another owner, trains some steps again.
    again = ledger.trial(3)
    again.append_history([row(2, a=222.0), row(4, a=4.0)], fence=2)
    for _ in range(2):
        assert trial.history().select(["step", "a"]).to_pydict() == {
            "step": [1, 2, 3, 4],
            "a": [1.0, 2.0, 3.0, 4.0],
        }
        again.merge_history()
    again.append_history([row(4, a=44.0), row(5, a=5.0)], fence=2)
    again.merge_history()
    assert trial.history()["a"].to_pylist() == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert len(os.listdir(segments(ledger))) == 1


def test_segments_are_parquet_files_for_any_program(trial, ledger):
    trial.append_history([row(1, a=0.25)], fence=1)
    [file] = segments(ledger).iterdir()
    assert pyarrow.parquet.read_table(file).to_pydict()["a"] == [0.25]


def test_reading_further_opens_only_what_is_new(trial, ledger, monkeypatch):
    for step in range(10):
        trial.append_history([row(step, a=step)], fence=1)
    opened = []
    real = type(ledger.storage).read
    monkeypatch.setattr(
        type(ledger.storage),
        "read",
        lambda self, path: opened.append(path) or real(self, path),
    )
    assert steps(ledger, after=7) == [8, 9]
    assert len(opened) == 2


@pytest.mark.parametrize("kind", ["cut", "flip"])
@pytest.mark.fault("torn-events", "a trial's curve cut or changed at each byte")
def test_a_segment_broken_at_any_byte_costs_itself_only(trial, ledger, kind, caplog):
    for step in range(3):
        trial.append_history([row(step, a=step / 2)], fence=1)
    file = max(segments(ledger).iterdir())
    whole = file.read_bytes()
    for position in range(0, len(whole), 7 if kind == "flip" else 13):
        broken = bytearray(whole[:position] if kind == "cut" else whole)
        if kind == "flip":
            broken[position] ^= 0x10
        file.write_bytes(broken)
        caplog.clear()
        assert steps(ledger) == [0, 1]
        assert file.name in caplog.text
    trial.append_history([row(3, a=1.5)], fence=1)
    assert steps(ledger) == [0, 1, 3]
    trial.merge_history()
    assert steps(ledger) == [0, 1, 3]
    assert sorted(name.suffix for name in segments(ledger).iterdir()) == [".corrupt", ".parquet"]
    trial.append_history([row(2, a=1.0)], fence=1)  # trained again
    assert steps(ledger) == [0, 1, 2, 3]


def test_a_merge_that_dies_anywhere_loses_and_repeats_nothing(new_ledger, open_failing, crash):
    for fail_at in range(1000):
        ledger = new_ledger()
        trial = ledger.trial(3)
        for step in range(0, 6, 2):
            trial.append_history([row(step, a=step), row(step + 1, a=step)], fence=1)
        died = False
        try:
            open_failing(ledger, fail_at=fail_at).trial(3).merge_history()
        except crash:
            died = True
        assert steps(ledger) == list(range(6))
        fresh = ledger.trial(3)
        fresh.append_history([row(6, a=6)], fence=1)
        assert steps(ledger) == list(range(7))
        fresh.merge_history()
        assert steps(ledger) == list(range(7))
        assert len(os.listdir(segments(ledger))) == 1
        if not died:
            assert fail_at >= 6
            return
    pytest.fail("never ran to the end")


def test_a_long_history_is_merged_on_the_way(trial, ledger, monkeypatch):
    monkeypatch.setattr(history_module, "MERGE_AFTER", 5)
    for step in range(40):
        trial.append_history([row(step, a=step)], fence=1)
        assert len(os.listdir(segments(ledger))) <= 6
    assert steps(ledger) == list(range(40))


def test_a_stale_owner_adds_nothing(trial, ledger):
    with ledger.acquire(heartbeat_s=1000) as first:
        trial.append_history([row(1, a=1.0)], first.fence)
        trial.save_checkpoint(1, {"a": b"1"}, first.fence)
    with ledger.acquire(heartbeat_s=1000) as second:
        for late in (
            lambda: trial.append_history([row(2, a=2.0)], 1),
            lambda: trial.save_checkpoint(2, {"a": b"2"}, 1),
            lambda: trial.write_weights(b"", 1),
        ):
            with pytest.raises(StaleOwnerError):
                late()
        trial.append_history([row(3, a=3.0)], second.fence)
    assert steps(ledger) == [1, 3]
    assert trial.checkpoint_steps() == [1]
    assert trial.weights() is None


def test_a_listing_that_a_merge_overtook_is_not_believed(trial, ledger, open_failing):
    trial.append_history([row(1, a=1), row(2, a=2)], fence=1)
    trial.append_history([row(3, a=3)], fence=1)
    trial.merge_history()
    view = open_failing(ledger)
    real, calls = view.storage.list, []
    view.storage.list = lambda path: calls.append(path) or (real(path) if calls[1:] else [])
    assert view.trial(3).history()["step"].to_pylist() == [1, 2, 3]


def test_a_reader_beside_the_writer_never_misses_a_row(ledger, monkeypatch):
    monkeypatch.setattr(history_module, "MERGE_AFTER", 4)
    written = [-1]
    errors = []

    def write():
        try:
            trial = ledger.trial(3)
            for step in range(150):
                trial.append_history([row(step, a=step)], fence=1)
                written[0] = step
            trial.merge_history()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    rounds = 0
    while thread.is_alive():
        before = written[0]
        found = steps(ledger)
        assert found == list(range(len(found)))
        assert len(found) > before
        newer = steps(ledger, after=before)
        assert newer == list(range(before + 1, before + 1 + len(newer)))
        rounds += 1
    thread.join()
    assert not errors
    assert rounds > 3
    assert steps(ledger) == list(range(150))


@pytest.mark.fault("disk", "the disk fills up while curves are written")
def test_a_full_disk_keeps_what_was_there(tiny_disk, fill, temporaries, caplog):
    from longhaul.ledger import Ledger, StorageFullError

    ledger = Ledger.create(tiny_disk / "runs", "s", "task: x\n", {})
    trial = ledger.trial(3)
    for step in range(3):
        trial.append_history([row(step, a=step)], fence=1)
    free = fill(tiny_disk)
    for _ in range(2):
        with pytest.raises(StorageFullError, match="no space left"):
            trial.append_history([row(3, a=3)], fence=1)
        with pytest.raises(StorageFullError):
            trial.merge_history()
        assert steps(ledger) == [0, 1, 2]
        assert not temporaries(tiny_disk)
    free()
    trial.append_history([row(3, a=3)], fence=1)
    assert steps(ledger) == [0, 1, 2, 3]
    trial.merge_history()
    assert steps(ledger) == [0, 1, 2, 3]
