"""Ledgers in a bucket, on a server of S3's protocol."""

import os
import pickle

import pytest

from longhaul.errors import RequestError
from longhaul.ledger import Ledger, SearchOwnedError, StorageError, open_storage, s3

SPEC = "task: {name: copying}\n"


@pytest.fixture
def storage(bucket):
    return bucket


def client():
    return s3._client(os.getpid())


def test_a_whole_bucket_is_a_storage_too(storage):
    bucket = storage.uri.split("/")[2]
    whole = open_storage(f"s3://{bucket}")
    storage.write("a/b", b"1")
    assert whole.list("") == ["runs"]
    assert whole.read("runs/a/b") == b"1"
    assert (whole.uri, storage.uri) == (f"s3://{bucket}", f"s3://{bucket}/runs")


def test_what_is_missing_cannot_be_renamed(storage):
    with pytest.raises(FileNotFoundError):
        storage.rename("a/y.txt", "a/x.txt")


def test_folders_of_many_files_are_listed_and_removed_whole(storage, monkeypatch):
    names = [f"{number:04}" for number in range(25)]
    for name in names:
        storage.write(f"many/{name}", b"")
    real = s3.S3Storage._ask

    def few(self, operation, **words):
        if operation == "list_objects_v2":
            words["MaxKeys"] = 4
        return real(self, operation, **words)

    monkeypatch.setattr(s3.S3Storage, "_ask", few)
    assert storage.list("many") == names
    storage.delete("many")
    assert storage.list("many") == []


def test_a_creation_whose_answer_was_lost_and_that_was_sent_again_is_ours(storage, monkeypatch):
    real = s3.S3Storage._ask

    def twice(self, operation, **words):
        if operation == "put_object":
            real(self, operation, **words)
        return real(self, operation, **words)

    monkeypatch.setattr(s3.S3Storage, "_ask", twice)
    assert storage.create("ours", b"1")
    assert not storage.create("ours", b"1")


def test_a_server_that_knows_no_conditions_is_refused(storage, monkeypatch):
    real = s3.S3Storage._ask

    def careless(self, operation, **words):
        words.pop("IfNoneMatch", None)
        return real(self, operation, **words)

    monkeypatch.setattr(s3.S3Storage, "_ask", careless)
    with pytest.raises(StorageError, match="two drivers could own one search"):
        storage.create("lease", b"1")


@pytest.mark.parametrize(
    "text",
    [
        "s3://",
        "s3:///x",
        "s3://B/x",
        "s3://key:secret@bucket/x",
        "s3://bucket/../x",
        "s3://bucket/.x",
    ],
)
def test_an_address_of_another_form_is_refused(text):
    with pytest.raises(RequestError):
        open_storage(text)


def test_what_the_server_refuses_is_said(storage, monkeypatch):
    with pytest.raises(StorageError, match="there is no such bucket"):
        open_storage("s3://nobodys-bucket/x").write("a", b"")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    s3._client.cache_clear()
    with pytest.raises(StorageError, match="cannot look for s3://"):
        storage.exists("a")


def test_a_full_server_is_told_apart(storage, monkeypatch):
    from botocore.exceptions import ClientError

    def full(**words):
        raise ClientError({"Error": {"Code": "XMinioStorageFull"}}, "PutObject")

    monkeypatch.setattr(client(), "put_object", full)
    with pytest.raises(StorageError) as caught:
        storage.write("a", b"1")
    assert caught.value.errno == 28


def test_a_ledger_is_kept_there(storage):
    ledger = Ledger.create(storage, "bucketed", SPEC, {"scans": "torch"})
    with ledger.acquire() as writer:
        for step in range(30):
            writer.append("reported", 0, step=step, value=1.0, decision="continue")
        with pytest.raises(SearchOwnedError):
            ledger.acquire().__enter__()
        ledger.trial(0).write_config({"seed": 1})
    again = pickle.loads(pickle.dumps(Ledger.open(storage.uri, "bucketed")))
    assert [event.data["step"] for event in again.events()] == list(range(30))
    assert again.spec_text() == SPEC
    with again.acquire() as writer:
        assert writer.fence > 1
    assert Ledger.names(storage) == ["bucketed"]
