"""Finding and converting data files, and what happens when they or the disk are broken."""

import json
import os
import shutil
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from longhaul_trainers.data import store
from longhaul_trainers.data.columns import Ragged, content_sha256
from longhaul_trainers.data.data_set import DataSet, Form
from longhaul_trainers.data.store import convert_data, open_data, status
from longhaul_trainers.errors import (
    DataError,
    DataStorageError,
    DataWarning,
    MissingDataError,
    UnusableDataError,
)

IMAGES = np.arange(24, dtype=np.uint8).reshape(4, 2, 3)
LENGTHS = np.array([0, 2, 2, 5], dtype=np.int64)


def read(files):
    """Makes tables of one npz file; the test files below say this in a process of their own."""
    with np.load(files[0], allow_pickle=False) as archive:
        values = archive["values"]
        return {
            "train": {"image": archive["images"], "label": archive["labels"]},
            "test": {"song": Ragged(values, archive["offsets"])},
        }


TOY = DataSet(
    name="toy",
    summary="four images and three songs",
    forms=(
        Form("an npz file with images", ("toy.npz",), read, folders=("", "inside")),
        Form("two raw files", ("one.raw", "two.raw"), read, endings=("", ".gz")),
    ),
    source="the toy shop",
    licence="none",
    stand_in="task: {name: copying}",
    refused={"toy.pkl": "it is a pickle, which is never loaded"},
)


def write_toy(path: Path, **changes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {
        "images": IMAGES,
        "labels": np.array([3, 1, 2, 0]),
        "values": np.linspace(0, 1, 10, dtype=np.float32).reshape(5, 2),
        "offsets": LENGTHS,
    }
    np.savez_compressed(path, **{k: v for k, v in (arrays | changes).items() if v is not None})
    return path


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty data folder and an empty cache, and nothing remembered in this process."""
    monkeypatch.setattr(store, "_opened", {})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LONGHAUL_DATA", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def left_in(place: Path) -> list[str]:
    return sorted(path.name for path in place.iterdir()) if place.exists() else []


def converted_files(folder: Path) -> list[Path]:
    return sorted((folder / ".longhaul").glob("*/*.arrow"))


def test_tables_come_back_as_they_were_and_are_mapped_from_disk(folder):
    file = write_toy(folder / "toy.npz")
    parts = open_data(TOY)
    expected = read([file])
    assert parts.keys() == expected.keys()
    np.testing.assert_array_equal(parts["train"]["image"], IMAGES)
    assert parts["train"]["image"].dtype == np.uint8
    np.testing.assert_array_equal(parts["train"]["label"], [3, 1, 2, 0])
    songs, wanted = parts["test"]["song"], expected["test"]["song"]
    assert isinstance(songs, Ragged)
    assert len(songs) == 3
    for index in range(3):
        np.testing.assert_array_equal(songs[index], wanted[index])
    assert songs[1].shape == (0, 2)
    assert not parts["train"]["image"].flags.writeable
    assert any(str(path) in Path("/proc/self/maps").read_text() for path in converted_files(folder))
    assert content_sha256(parts) == content_sha256(expected) == status(TOY).content_sha256


def test_other_readers_of_arrow_see_ordinary_tables(folder):
    import pyarrow as pa

    write_toy(folder / "toy.npz")
    open_data(TOY)
    (file,) = (path for path in converted_files(folder) if path.stem == "train")
    with pa.memory_map(str(file)) as opened:
        table = pa.ipc.open_file(opened).read_all()
        assert table.num_rows == 4
        assert table["image"][1].as_py() == [6, 7, 8, 9, 10, 11]


def test_the_source_is_read_once(folder):
    file = write_toy(folder / "toy.npz")
    open_data(TOY)
    before = {path: path.stat().st_mtime_ns for path in converted_files(folder)}
    times = file.stat()
    file.write_bytes(b"\0" * times.st_size)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    store._opened.clear()
    np.testing.assert_array_equal(open_data(TOY)["train"]["image"], IMAGES)
    assert {path: path.stat().st_mtime_ns for path in converted_files(folder)} == before
    assert "is not the one that was converted" in status(TOY, verify=True).problem


def test_a_file_that_was_only_touched_is_not_converted_again(folder):
    file = write_toy(folder / "toy.npz")
    open_data(TOY)
    before = converted_files(folder)
    os.utime(file, ns=(1, 1))
    store._opened.clear()
    open_data(TOY)
    assert converted_files(folder) == before


@pytest.mark.parametrize("changed", ["file", "version", "variant"])
def test_what_the_tables_depend_on_makes_new_ones(folder, changed):
    file = write_toy(folder / "toy.npz")
    open_data(TOY)
    data_set = TOY
    if changed == "file":
        write_toy(file, images=IMAGES + 1)
    else:
        data_set = replace(TOY, **({"version": 2} if changed == "version" else {"variant": "x"}))
    image = open_data(data_set)["train"]["image"]
    np.testing.assert_array_equal(image, IMAGES + (changed == "file"))
    assert len(converted_files(folder)) == 4


def test_a_missing_file_gets_one_message_with_all_that_helps(folder, monkeypatch):
    with pytest.raises(MissingDataError) as caught:
        open_data(TOY)
    message = str(caught.value)
    assert isinstance(caught.value, DataError)
    for part in (
        "'toy'",
        f"LONGHAUL_DATA={folder}",
        "toy.npz (an npz file with images)",
        "or one.raw, two.raw (two raw files)",
        "the toy shop",
        "task: {name: copying}",
    ):
        assert part in message
    assert "pickle" not in message
    (folder / "toy.pkl").touch()
    assert "found toy.pkl: it is a pickle, which is never loaded" in TOY.missing()
    monkeypatch.setenv("LONGHAUL_DATA", str(folder / "nowhere"))
    assert "which is no folder" in TOY.missing()
    monkeypatch.delenv("LONGHAUL_DATA")
    assert "LONGHAUL_DATA is not set" in TOY.missing()
    assert left_in(folder) == ["toy.pkl"]


def test_part_of_the_files_is_not_enough(folder):
    (folder / "one.raw").touch()
    assert status(TOY).state == "missing"
    (folder / "two.raw.gz").touch()
    assert status(TOY).files == (folder / "one.raw", folder / "two.raw.gz")


@pytest.mark.parametrize("given", ["~/data", "data", "./data/../data/"])
def test_the_folder_may_be_relative_or_in_the_home(folder, given, monkeypatch):
    write_toy(folder / "inside" / "toy.npz")
    monkeypatch.setenv("HOME", str(folder.parent))
    monkeypatch.chdir(folder.parent)
    monkeypatch.setenv("LONGHAUL_DATA", given)
    assert status(TOY).files == (folder / "inside" / "toy.npz",)
    open_data(TOY)
    assert left_in(folder) == [".longhaul", "inside"]


BREAKS = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-200]),
    "cut to its beginning": lambda path: path.write_bytes(path.read_bytes()[:40]),
    "empty": lambda path: path.write_bytes(b""),
    "a page of a web server": lambda path: path.write_text("<html>404</html>", encoding="utf-8"),
    "damaged inside": lambda path: path.write_bytes(flipped(path.read_bytes())),
    "without a key": lambda path: write_toy(path, labels=None),
    "of objects": lambda path: write_toy(path, images=np.array([{}], dtype=object)),
    "of texts": lambda path: write_toy(path, labels=np.array(list("abcd"))),
    "of another length": lambda path: write_toy(path, labels=np.arange(5)),
    "with wrong offsets": lambda path: write_toy(path, offsets=LENGTHS[::-1].copy()),
    "with offsets beyond the end": lambda path: write_toy(path, offsets=LENGTHS + 1),
}


def flipped(data: bytes) -> bytes:
    middle = data.index(b"images.npy") + 60
    return (
        data[:middle] + bytes(byte ^ 255 for byte in data[middle : middle + 8]) + data[middle + 8 :]
    )


@pytest.mark.parametrize("kind", BREAKS)
def test_an_unusable_file_gets_one_message_and_leaves_nothing(folder, kind):
    file = write_toy(folder / "toy.npz")
    BREAKS[kind](file)
    with pytest.raises(UnusableDataError) as caught:
        open_data(TOY)
    message = str(caught.value)
    assert message.startswith(f"{file}: not usable as an npz file with images: ")
    assert "get data set 'toy' again from the toy shop" in message
    assert len(message) < 600
    assert left_in(folder / ".longhaul") == left_in(folder.parent / "cache") == []
    # Put right, it works.
    write_toy(file)
    assert status(TOY).state == "found"
    np.testing.assert_array_equal(open_data(TOY)["train"]["image"], IMAGES)


def test_another_content_is_a_warning_not_an_error(folder):
    write_toy(folder / "toy.npz")
    official = replace(TOY, content_sha256=content_sha256(read([folder / "toy.npz"])))
    open_data(official)
    assert status(official).official is True
    assert status(official, verify=True).problem == ""
    write_toy(folder / "toy.npz", images=IMAGES + 1)
    with pytest.warns(DataWarning, match="not what the literature used"):
        open_data(official)
    found = status(official)
    assert found.state == "ready"
    assert found.official is False
    assert "not what the literature used" in found.problem


def test_a_folder_meant_to_be_read_only_stays_as_it_is(folder):
    write_toy(folder / "toy.npz")
    folder.chmod(0o555)
    try:
        open_data(TOY)
    finally:
        folder.chmod(0o755)
    assert left_in(folder) == ["toy.npz"]
    cache = folder.parent / "cache" / "longhaul" / "data"
    assert status(TOY).converted == next(cache.iterdir())


def test_nowhere_to_keep_converted_files_is_said(folder, monkeypatch):
    write_toy(folder / "toy.npz")
    (folder.parent / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder.parent / "file"))
    folder.chmod(0o555)
    try:
        with pytest.raises(DataStorageError, match="set XDG_CACHE_HOME") as caught:
            open_data(TOY)
    finally:
        folder.chmod(0o755)
    assert str(folder / ".longhaul") in str(caught.value)


def test_a_full_disk_leaves_nothing(folder):
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"this user cannot mount: {mounted.stderr.strip()}")
    try:
        # 4 MB that compress to a few kilobytes.
        write_toy(folder / "toy.npz", images=np.zeros((4, 1000, 1000), dtype=np.uint8))
        with pytest.raises(DataStorageError, match="No space left") as caught:
            open_data(TOY)
        assert "nothing is left there" in str(caught.value)
        assert "about 4 MiB" in str(caught.value)
        assert left_in(folder / ".longhaul") == []
        write_toy(folder / "toy.npz")
        assert open_data(TOY)["train"]["image"].shape == (4, 2, 3)
    finally:
        store._opened.clear()
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize("damage", ["truncated", "gone", "about", "empty"])
def test_damaged_converted_files_are_made_anew(folder, damage):
    write_toy(folder / "toy.npz")
    open_data(TOY)
    train = next(path for path in converted_files(folder) if path.stem == "train")
    {
        "truncated": lambda: os.truncate(train, train.stat().st_size - 30),
        "gone": train.unlink,
        "about": lambda: (train.parent / "about.json").write_text("{", encoding="utf-8"),
        "empty": lambda: os.truncate(train, 0),
    }[damage]()
    if damage != "about":
        assert "damaged" in status(TOY, verify=True).problem
    store._opened.clear()
    np.testing.assert_array_equal(open_data(TOY)["train"]["image"], IMAGES)
    found = status(TOY, verify=True)
    assert found.problem == ""
    assert found.converted.parent == folder / ".longhaul"
    assert len(converted_files(folder)) == len(left_in(found.converted)) - 1 == 2


def test_converted_files_that_someone_has_changed_are_found_out(folder):
    write_toy(folder / "toy.npz")
    open_data(TOY)
    train = next(path for path in converted_files(folder) if path.stem == "train")
    data = bytearray(train.read_bytes())
    place = data.index(bytes(range(24)))
    data[place] ^= 1
    train.write_bytes(data)
    assert status(TOY).problem == ""
    assert "was changed after it was made" in status(TOY, verify=True).problem


def test_convert_data_says_what_is_there(folder):
    write_toy(folder / "toy.npz")
    assert status(TOY).state == "found"
    done = convert_data(TOY)
    assert done.state == "ready"
    about = json.loads((done.converted / "about.json").read_text(encoding="utf-8"))
    assert about["sources"][0]["name"] == "toy.npz"
    assert about["parts"] == ["test", "train"]


CHILD = """
    import importlib.util, sys, time
    from pathlib import Path
    spec = importlib.util.spec_from_file_location("toy", sys.argv[1])
    toy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(toy)
    from longhaul_trainers.data import arrow_files, conversion
    written = conversion.write_parts

    def write_parts(folder, parts):
        written(folder, parts)
        print("written", flush=True)
        sys.stdin.readline()

    conversion.write_parts = write_parts
    parts = toy.open_data(toy.TOY)
    print(int(parts["train"]["image"].sum()), toy.status(toy.TOY, verify=True).problem, flush=True)
"""


def child():
    """A process that converts, and waits for a line before it renames what it has written."""
    command = [sys.executable, "-c", textwrap.dedent(CHILD), __file__]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, **pipes)


def test_processes_that_convert_at_the_same_time_agree(folder):
    write_toy(folder / "toy.npz")
    children = [child() for _ in range(3)]
    assert [one.stdout.readline() for one in children] == ["written\n"] * 3
    assert len(list((folder / ".longhaul").glob("tmp-*"))) == 3
    assert status(TOY).state == "found"  # nothing is seen before it is whole
    said = [one.communicate("\n")[0] for one in children]
    assert said == [f"{IMAGES.sum()} \n"] * 3
    assert [one.returncode for one in children] == [0] * 3
    assert len(left_in(folder / ".longhaul")) == 1


def test_a_killed_conversion_is_never_seen_and_is_swept_up(folder):
    write_toy(folder / "toy.npz")
    killed = child()
    assert killed.stdout.readline() == "written\n"
    killed.kill()
    killed.communicate()
    (left,) = (folder / ".longhaul").iterdir()
    assert status(TOY).state == "found"
    np.testing.assert_array_equal(open_data(TOY)["train"]["image"], IMAGES)
    assert left.exists()  # it may be another process's
    os.utime(left, (1, 1))
    shutil.rmtree(status(TOY).converted)
    store._opened.clear()
    open_data(TOY)
    assert not left.exists()


def test_what_is_mapped_stays_readable_when_it_is_made_anew(folder):
    write_toy(folder / "toy.npz")
    image = open_data(TOY)["train"]["image"]
    shutil.rmtree(status(TOY).converted)
    store._opened.clear()
    open_data(TOY)
    np.testing.assert_array_equal(image, IMAGES)


def test_a_data_set_made_by_a_task_may_name_files_anywhere(folder, monkeypatch):
    file = write_toy(folder.parent / "elsewhere" / "mine.npz")
    monkeypatch.delenv("LONGHAUL_DATA")
    mine = replace(TOY, name="mine", forms=(Form("an npz file", (str(file),), read),))
    np.testing.assert_array_equal(open_data(mine)["train"]["image"], IMAGES)
    assert status(mine).converted.is_relative_to(folder.parent / "cache")


def test_a_bundled_data_set_needs_no_folder(folder, monkeypatch):
    monkeypatch.delenv("LONGHAUL_DATA")
    bundled = replace(TOY, forms=(), bundled=lambda: {"all": {"x": np.arange(3)}})
    assert open_data(bundled)["all"]["x"].tolist() == [0, 1, 2]
    assert status(bundled).state == "bundled"
    assert status(bundled, verify=True).content_sha256
    assert left_in(folder.parent / "cache") == []
