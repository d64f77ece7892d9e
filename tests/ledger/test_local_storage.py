import os
import subprocess
import sys
from pathlib import Path

import pytest

from longhaul.errors import RequestError
from longhaul.ledger import LocalStorage, StorageError, check_search_name, open_storage
from longhaul.ledger import storage as storage_module


@pytest.fixture
def storage(memory_path):
    return LocalStorage(memory_path / "root")


def test_create_without_hard_links_is_still_exclusive(storage, monkeypatch):
    def link(*_):
        raise OSError(95, "no hard links here")

    monkeypatch.setattr(os, "link", link)
    assert storage.create("lease", b"mine")
    assert not storage.create("lease", b"theirs")
    assert storage.read("lease") == b"mine"


def test_a_link_out_of_the_root_is_refused_and_one_inside_is_not(storage, memory_path):
    (memory_path / "outside").mkdir()
    (memory_path / "outside/secret").write_bytes(b"secret")
    storage.write("inside/file", b"mine")
    (storage.root / "out").symlink_to(memory_path / "outside")
    (storage.root / "one").symlink_to(memory_path / "outside/secret")
    (storage.root / "in").symlink_to(storage.root / "inside")
    # A root of the same beginning is another folder.
    (memory_path / "root-2").mkdir()
    (storage.root / "near").symlink_to(memory_path / "root-2")
    for path in ("out/secret", "out/new", "one", "near/x"):
        with pytest.raises(RequestError, match="leaves the storage"):
            storage.read(path)
        with pytest.raises(RequestError, match="leaves the storage"):
            storage.write(path, b"overwritten")
    with pytest.raises(RequestError):
        storage.folder("out")
    with pytest.raises(RequestError):
        storage.list("out")
    assert (memory_path / "outside/secret").read_bytes() == b"secret"
    assert storage.read("in/file") == b"mine"


def test_a_root_that_is_a_link_works(memory_path):
    (memory_path / "real").mkdir()
    (memory_path / "alias").symlink_to(memory_path / "real")
    storage = LocalStorage(memory_path / "alias")
    storage.write("a", b"1")
    assert (memory_path / "real/a").read_bytes() == b"1"


@pytest.mark.parametrize("name", ["a", "0", "copying-100.v2_b", "x" * 63])
def test_search_names(name):
    check_search_name(name)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "-a", "A", "a/b", "a b", "x" * 64, "ä", "a\n", ".tmp-1", "a\0"]
)
def test_search_names_that_cannot_be(name):
    with pytest.raises(RequestError):
        check_search_name(name)


def test_addresses(memory_path, monkeypatch):
    monkeypatch.chdir(memory_path)
    assert open_storage("runs").uri == str(memory_path / "runs")
    assert open_storage(f"file://{memory_path}/a%20b").uri == str(memory_path / "a b")
    assert open_storage(Path("runs")).uri == str(memory_path / "runs")
    for address in ("ftp://host/x", "file://host/x", ""):
        with pytest.raises(RequestError):
            open_storage(address)


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_an_error_leaves_the_old_content_and_no_temporary_file(
    storage, monkeypatch, temporaries, step
):
    storage.write("file", b"old")

    def fail(*_, **__):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(storage_module.os, step, fail)
    with pytest.raises(StorageError, match="file: Input/output error"):
        storage.write("file", b"new")
    monkeypatch.undo()
    assert storage.read("file") == b"old"
    assert not temporaries(storage.root)


def test_whether_a_file_exists_is_not_guessed(storage, monkeypatch):
    def fail(*_, **__):
        raise OSError(116, "Stale file handle")

    monkeypatch.setattr(storage_module.os, "stat", fail)
    with pytest.raises(StorageError, match="Stale file handle"):
        storage.exists("file")


def test_a_short_write_is_continued(storage, monkeypatch):
    real = os.write
    monkeypatch.setattr(storage_module.os, "write", lambda fd, data: real(fd, bytes(data[:3])))
    storage.write("file", b"0123456789")
    assert storage.read("file") == b"0123456789"


def test_a_full_disk(tiny_disk, fill, temporaries):
    storage = LocalStorage(tiny_disk / "root")
    storage.write("file", b"old" * 1000)
    free = fill(tiny_disk)
    for _ in range(3):
        with pytest.raises(StorageError, match="no space left") as raised:
            storage.write("file", b"new" * 10_000)
        assert raised.value.errno == 28
        with pytest.raises(StorageError, match="no space left"):
            storage.create("other", b"new" * 10_000)
        assert storage.read("file") == b"old" * 1000
        assert storage.list("") == ["file"]
        assert not temporaries(tiny_disk)
    free()
    storage.write("file", b"new" * 10_000)
    assert storage.read("file") == b"new" * 10_000


def test_sweeping_spares_the_living(storage):
    storage.write("kept", b"")
    script = (
        "import sys; from longhaul.ledger import storage as s; from pathlib import Path;"
        "(Path(sys.argv[1]) / s._temporary_name()).touch()"
    )
    subprocess.run([sys.executable, "-c", script, storage.root], check=True)
    mine = storage.root / storage_module._temporary_name()
    mine.touch()
    elsewhere = storage.root / ".tmp-00000000-1-abc"
    elsewhere.touch()
    ancient = storage.root / ".tmp-00000000-2-abc"
    ancient.touch()
    os.utime(ancient, (0, 0))
    assert storage.list("") == ["kept"]
    LocalStorage(storage.root.parent).sweep("root")
    left = {path.name for path in storage.root.glob(".tmp-*")}
    assert left == {mine.name, elsewhere.name}


def test_age(storage):
    assert storage.age_s("missing") is None
    storage.write("file", b"")
    assert 0 <= storage.age_s("file") < 60
    os.utime(storage.root / "file", (0, 0))
    assert storage.age_s("file") > 1e9
    assert storage.list("") == ["file"]
    assert not list(storage.root.glob(".tmp-*"))
