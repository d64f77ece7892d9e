import json
import os
import threading
from pathlib import Path

import pytest

from longhaul.ledger import Ledger, StorageFullError


@pytest.fixture
def trial(ledger):
    return ledger.trial(3)


def files(step):
    return {"weights.safetensors": b"w%d" % step * 200, "state/slots.json": b"{}%d" % step}


def folder(ledger):
    return Path(ledger.storage.uri) / "trials/00003/checkpoint"


def newest(ledger):
    return folder(ledger) / max(os.listdir(folder(ledger)))


def test_a_checkpoint_comes_back(trial):
    assert trial.load_checkpoint() is None
    trial.save_checkpoint(50, files(50))
    assert trial.load_checkpoint() == (50, files(50))
    trial.save_checkpoint(100, {})
    assert trial.load_checkpoint() == (100, {})


def test_the_newest_two_are_kept(trial, ledger):
    for step in (5, 50, 500, 5000):
        trial.save_checkpoint(step, files(step))
    assert trial.checkpoint_steps() == [500, 5000]
    assert len(os.listdir(folder(ledger))) == 2
    assert trial.load_checkpoint() == (5000, files(5000))
    spare = trial.spare_paths(checkpoint=True, weights=True)
    assert len(spare) == 1
    for path in spare:
        ledger.storage.delete(path)
    assert trial.load_checkpoint() == (5000, files(5000))
    for path in trial.spare_paths(checkpoint=False, weights=True):
        ledger.storage.delete(path)
    assert trial.load_checkpoint() is None


def cut(file):
    file.write_bytes(file.read_bytes()[:-1])


def flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def empty(file):
    file.write_bytes(b"")


DAMAGES = [cut, flip, empty, Path.unlink]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["weights.safetensors", "state/slots.json", "manifest.json"])
@pytest.mark.fault(
    "torn-checkpoint",
    "files of the newest checkpoint cut, changed, emptied, deleted",
)
def test_a_damaged_one_is_passed_over(trial, ledger, damage, name, caplog):
    trial.save_checkpoint(50, files(50))
    trial.save_checkpoint(100, files(100))
    damage(newest(ledger) / name)
    assert trial.load_checkpoint() == (50, files(50))
    assert "0000000100" in caplog.text
    # Training goes on from 50; what is kept then is the new one and a good one.
    trial.save_checkpoint(120, files(120))
    assert trial.checkpoint_steps() == [50, 120]
    damage(newest(ledger) / name)
    assert trial.load_checkpoint() == (50, files(50))
    trial.save_checkpoint(90, files(90))
    assert trial.checkpoint_steps() == [50, 90]
    assert len(os.listdir(folder(ledger))) == 2


@pytest.mark.fault("torn-checkpoint", "each byte of a manifest changed")
def test_any_changed_byte_of_a_manifest_is_noticed_or_harmless(trial, ledger):
    trial.save_checkpoint(50, files(50))
    trial.save_checkpoint(100, files(100))
    manifest = newest(ledger) / "manifest.json"
    whole = manifest.read_bytes()
    for position in range(len(whole)):
        for change in (1, 2, 4, 0x80):
            broken = bytearray(whole)
            broken[position] ^= change
            manifest.write_bytes(broken)
            assert trial.load_checkpoint() in ((50, files(50)), (100, files(100)))


def test_a_manifest_cannot_point_out_of_its_folder(trial, ledger):
    trial.save_checkpoint(50, files(50))
    trial.save_checkpoint(100, files(100))
    manifest = newest(ledger) / "manifest.json"
    record = json.loads(manifest.read_text())
    record["files"]["../../../spec.yaml"] = record["files"].pop("state/slots.json")
    manifest.write_text(json.dumps(record))
    assert trial.load_checkpoint() == (50, files(50))


@pytest.mark.fault("torn-checkpoint", "all checkpoints damaged")
def test_when_all_are_damaged_there_is_none(trial, ledger):
    for step in (50, 100):
        trial.save_checkpoint(step, files(step))
        flip(newest(ledger) / "weights.safetensors")
    assert trial.load_checkpoint() is None


@pytest.mark.fault("torn-checkpoint", "death at each operation of saving one")
def test_a_death_while_saving_keeps_a_good_one(new_ledger, open_failing, crash):
    for fail_at in range(1000):
        ledger = new_ledger()
        ledger.trial(3).save_checkpoint(50, files(50))
        ledger.trial(3).save_checkpoint(100, files(100))
        died = False
        try:
            open_failing(ledger, fail_at=fail_at).trial(3).save_checkpoint(150, files(150))
        except crash:
            died = True
        assert ledger.trial(3).load_checkpoint() in ((100, files(100)), (150, files(150)))
        if fail_at < 5:
            assert ledger.trial(3).load_checkpoint()[0] == 100
        ledger.trial(3).save_checkpoint(160, files(160))
        assert len(os.listdir(folder(ledger))) == 2  # what was unfinished is gone
        assert ledger.trial(3).load_checkpoint() == (160, files(160))
        if not died:
            assert fail_at >= 8
            return
    pytest.fail("never ran to the end")


def test_two_processes_at_the_same_step_do_not_mix(trial, ledger):
    trial.save_checkpoint(50, files(50))
    trial.save_checkpoint(50, files(51))
    assert trial.load_checkpoint() == (50, files(51))


def test_names_are_checked(trial):
    with pytest.raises(ValueError, match=r"manifest\.json"):
        trial.save_checkpoint(1, {"manifest.json": b""})
    from longhaul.errors import RequestError

    with pytest.raises(RequestError):
        trial.save_checkpoint(1, {"../../escape": b""})
    assert trial.load_checkpoint() is None
    assert trial.checkpoint_steps() == []


@pytest.mark.fault("disk", "the disk fills up while a checkpoint is saved")
def test_a_full_disk_keeps_the_earlier_ones(tiny_disk, fill, temporaries):
    ledger = Ledger.create(tiny_disk / "runs", "s", "task: x\n", {})
    trial = ledger.trial(3)
    trial.save_checkpoint(50, files(50))
    trial.save_checkpoint(100, files(100))
    free = fill(tiny_disk)
    for _ in range(3):
        with pytest.raises(StorageFullError, match="no space left"):
            trial.save_checkpoint(150, files(150))
        assert trial.load_checkpoint() == (100, files(100))
        assert trial.checkpoint_steps() == [50, 100]
        assert len(os.listdir(folder(ledger))) == 2
        assert not temporaries(tiny_disk)
    free()
    trial.save_checkpoint(150, files(150))
    assert trial.load_checkpoint() == (150, files(150))


def test_a_reader_beside_the_writer_always_finds_a_good_one(ledger):
    ledger.trial(3).save_checkpoint(0, files(0))
    written = [0]

    def write():
        for step in range(1, 80):
            ledger.trial(3).save_checkpoint(step, files(step))
            written[0] = step

    thread = threading.Thread(target=write)
    thread.start()
    while thread.is_alive():
        before = written[0]
        step, content = ledger.trial(3).load_checkpoint()
        assert step >= before
        assert content == files(step)
    thread.join()
    assert written[0] == 79
