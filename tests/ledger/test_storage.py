"""What every storage does, in a folder and in a bucket."""

import threading

import pytest

from longhaul.errors import RequestError
from longhaul.ledger import LocalStorage


@pytest.fixture(params=["folder", "bucket"])
def storage(request, memory_path):
    if request.param == "bucket":
        return request.getfixturevalue("bucket")
    return LocalStorage(memory_path / "root")


def test_what_was_written_is_read_listed_and_deleted(storage):
    storage.write("a/b/c.bin", b"one")
    storage.write("a/b/c.bin", b"two")
    storage.write("a/z.txt", b"")
    assert storage.read("a/b/c.bin") == b"two"
    assert storage.list("a") == ["b", "z.txt"]
    assert storage.list("missing") == []
    assert storage.list("") == ["a"]
    assert storage.exists("a/b")
    assert storage.exists("a/z.txt")
    assert not storage.exists("a/c")
    assert not storage.exists("a/z")
    storage.rename("a/z.txt", "a/y.txt")
    assert storage.list("a") == ["b", "y.txt"]
    assert storage.folder("a").read("b/c.bin") == b"two"
    storage.write("ab", b"")
    storage.delete("a")
    storage.delete("a")
    assert storage.list("") == ["ab"]
    storage.delete("ab")
    assert storage.list("") == []
    with pytest.raises(FileNotFoundError):
        storage.read("a/b/c.bin")
    with pytest.raises(FileNotFoundError):
        storage.read("a/y.txt/deeper")


def test_create_succeeds_for_exactly_one_of_many(storage):
    outcomes = []
    ready = threading.Barrier(8)

    def create(number):
        ready.wait()
        outcomes.append((storage.create("lease", b"%d" % number * 1000), number))

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [number for created, number in outcomes if created]
    assert len(winners) == 1
    assert storage.read("lease") == b"%d" % winners[0] * 1000
    here = storage.local_path("lease")
    assert here is None or not list(here.parent.glob(".tmp-*"))


@pytest.mark.parametrize(
    "path",
    ["", "/etc/passwd", "..", "../x", "a/../../x", "a//b", "a/", "./a", "a/.hidden", "a\\b", "a\0"],
)
def test_a_path_that_is_not_inside_is_refused(storage, path):
    storage.write("a/b", b"")
    operations = (storage.read, storage.delete, storage.exists, storage.age_s, storage.local_path)
    for operation in operations:
        with pytest.raises(RequestError):
            operation(path)
    with pytest.raises(RequestError):
        storage.write(path, b"")


def test_an_age_is_by_the_clock_of_the_storage(storage):
    assert storage.age_s("a") is None
    storage.write("a", b"")
    assert 0 <= storage.age_s("a") < 30
