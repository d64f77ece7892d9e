# ruff: noqa: D102 - what S3Storage does is said in Storage
"""Where a search is kept: objects of a bucket, in S3 or behind a server that speaks its protocol.

Not through `pyarrow.fs`: it has no way to create an object only if it is absent, which leases rest
on. Address, region and credentials are boto3's own affair (``AWS_ENDPOINT_URL``, ``AWS_PROFILE``,
the machine's role, ...); none of them stands in the address of a storage.
"""

import errno
import os
import re
import secrets
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, final

from longhaul.errors import RequestError
from longhaul.ledger.errors import StorageError, StorageFullError
from longhaul.ledger.storage import Storage, check_path

_ADDRESS = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(.*?))?/?")
_MISSING = {"NoSuchKey", "NotFound", "404"}
_THERE = {"PreconditionFailed", "412"}
_AT_ONCE = {"ConditionalRequestConflict", "OperationAborted"}
"""Somebody else was writing the same object at that moment: to be asked again."""
_FULL = {"QuotaExceeded", "InsufficientCapacity", "XMinioStorageFull", "507"}
_WRITER = "longhaul-writer"
_TRIES, _PAUSE_S = 20, 0.1
_DELETED_AT_ONCE = 1000

_exclusive: set[str] = set()
"""The buckets that were seen to refuse to create an object twice."""


@final
class S3Storage(Storage):
    """The objects of a bucket whose keys have a beginning in common.

    An object is replaced as a whole, is durable when the answer comes, and whoever reads it then
    sees it; so nothing temporary is ever left behind.

    Args:
        bucket: its name.
        prefix: what keys begin with, without a slash at its end; empty for the whole bucket.
    """

    def __init__(self, bucket: str, prefix: str) -> None:
        self._bucket, self._prefix = bucket, prefix
        self.uri = f"s3://{bucket}/{prefix}".rstrip("/")

    def __repr__(self) -> str:
        return f"S3Storage({self.uri!r})"

    @classmethod
    def at(cls, address: str) -> "S3Storage":
        """The storage at ``s3://BUCKET/PREFIX``.

        Raises:
            RequestError: the address has another form, or boto3 is missing.
        """
        match = _ADDRESS.fullmatch(address)
        if match is None:
            raise RequestError(f"storage {address!r}: expected s3://BUCKET or s3://BUCKET/PREFIX")
        if match[2]:
            check_path(match[2])
        _client(os.getpid())
        return cls(match[1], match[2] or "")

    def folder(self, path: str) -> "S3Storage":
        return S3Storage(self._bucket, self._key(path))

    def write(self, path: str, data: bytes) -> None:
        self._ask("put_object", Key=self._key(path), Body=data)

    def create(self, path: str, data: bytes) -> bool:
        key = self._key(path)
        created = self._put_new(key, data)
        if created and self._bucket not in _exclusive:
            if self._put_new(key, data):
                raise StorageError(
                    f"the server of {self.uri} creates an object that is there already: two "
                    "drivers could own one search. It must know conditional writes (If-None-Match)"
                )
            _exclusive.add(self._bucket)
        return created

    def _put_new(self, key: str, data: bytes) -> bool:
        token = secrets.token_hex(8)
        words = {"Key": key, "Body": data, "IfNoneMatch": "*", "Metadata": {_WRITER: token}}
        for _ in range(_TRIES):
            try:
                self._ask("put_object", **words)
            except FileExistsError:
                # It is ours where an answer was lost and the request was sent again.
                found = self._ask("head_object", Key=key)["Metadata"].get(_WRITER)
                return bool(found == token)
            except InterruptedError:
                time.sleep(_PAUSE_S)
            else:
                return True
        raise StorageError(f"cannot create {self._told(key)}: others write it without end")

    def read(self, path: str) -> bytes:
        return bytes(self._ask("get_object", Key=self._key(path))["Body"].read())

    def list(self, folder: str) -> list[str]:
        prefix = f"{self._key(folder) if folder else self._prefix}/".removeprefix("/")
        names: set[str] = set()
        for page in self._pages(Prefix=prefix, Delimiter="/"):
            found = [one["Prefix"] for one in page.get("CommonPrefixes", ())]
            found += [one["Key"] for one in page.get("Contents", ())]
            names |= {one.removeprefix(prefix).strip("/") for one in found}
        return sorted(name for name in names if name and not name.startswith("."))

    def exists(self, path: str) -> bool:
        key = self._key(path)
        try:
            self._ask("head_object", Key=key)
        except FileNotFoundError:
            below = self._ask("list_objects_v2", Prefix=f"{key}/", MaxKeys=1)
            return bool(below.get("Contents"))
        return True

    def delete(self, path: str) -> None:
        key = self._key(path)
        self._ask("delete_object", Key=key)
        for page in self._pages(Prefix=f"{key}/", MaxKeys=_DELETED_AT_ONCE):
            gone = [{"Key": one["Key"]} for one in page.get("Contents", ())]
            if gone:
                left = self._ask("delete_objects", Delete={"Objects": gone, "Quiet": True})
                for one in left.get("Errors", ()):
                    told = f"{self._told(one['Key'])}: {one.get('Message', one.get('Code'))}"
                    raise StorageError(f"cannot remove {told}")

    def rename(self, old: str, new: str) -> None:
        source = {"Bucket": self._bucket, "Key": self._key(old)}
        self._ask("copy_object", Key=self._key(new), CopySource=source)
        self._ask("delete_object", Key=source["Key"])

    def sweep(self, folder: str) -> None:
        check_path(folder)  # nothing is left behind where writes are whole

    def age_s(self, path: str) -> float | None:
        try:
            found = self._ask("head_object", Key=self._key(path))
        except FileNotFoundError:
            return None
        # Both by the server's clock, which may differ from ours.
        now = parsedate_to_datetime(found["ResponseMetadata"]["HTTPHeaders"]["date"])
        return max(0.0, float((now - found["LastModified"]).total_seconds()))

    def local_path(self, path: str) -> Path | None:
        check_path(path)
        return None

    def _key(self, path: str) -> str:
        check_path(path)
        return f"{self._prefix}/{path}".removeprefix("/")

    def _told(self, key: str) -> str:
        return f"s3://{self._bucket}/{key}"

    def _pages(self, **words: Any) -> Iterator[dict[str, Any]]:
        while True:
            page = self._ask("list_objects_v2", **words)
            yield page
            if not page.get("IsTruncated"):
                return
            words["ContinuationToken"] = page["NextContinuationToken"]

    def _ask(self, operation: str, **words: Any) -> dict[str, Any]:
        """What the server answers.

        Raises:
            FileNotFoundError: there is no such object.
            FileExistsError: there is one, and none was expected.
            InterruptedError: it is being written; to be asked again.
            StorageFullError: no space, or no quota.
            StorageError: no answer, or another refusal.
        """
        told = self._told(words.get("Key", words.get("Prefix", "")))
        known = import_module("botocore.exceptions")
        try:
            call = getattr(_client(os.getpid()), operation)
            return dict(call(Bucket=self._bucket, **words))
        except known.ClientError as error:
            raise _meaning(error, operation, told) from error
        except known.BotoCoreError as error:  # no credentials, no connection, no answer in time
            raise StorageError(f"cannot {_SAID[operation]} {told}: {error}") from error


_SAID = {
    "put_object": "write",
    "get_object": "read",
    "head_object": "look for",
    "list_objects_v2": "list",
    "copy_object": "rename",
    "delete_object": "remove",
    "delete_objects": "remove",
}


def _meaning(error: Any, operation: str, told: str) -> OSError:
    """What a refusal means: the exception to be raised instead."""
    answer = error.response.get("Error", {})
    status = str(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", ""))
    codes = {str(answer.get("Code", "")), status}
    if "NoSuchBucket" in codes:
        return StorageError(f"cannot {_SAID[operation]} {told}: there is no such bucket")
    if codes & _MISSING:
        return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), told)
    if codes & _AT_ONCE:
        return InterruptedError(errno.EINTR, "it is being written by somebody else", told)
    if codes & _THERE:
        return FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), told)
    if codes & _FULL:
        return StorageFullError(
            f"no space left on the storage for {told}. What was there before is intact: free some "
            "space, then go on."
        )
    said = answer.get("Message") or answer.get("Code") or f"status {status}"
    return StorageError(f"cannot {_SAID[operation]} {told}: {said}")


@cache
def _client(process: int) -> Any:
    """boto3's client for this process: its connections must not be shared with a forked child."""
    try:
        boto3, config = import_module("boto3"), import_module("botocore.config")
    except ImportError as error:
        raise RequestError("storage on s3:// needs boto3: pip install 'longhaul[s3]'") from error
    retries = {"mode": "standard", "max_attempts": 6}
    chosen = config.Config(retries=retries, connect_timeout=10, read_timeout=60)
    return boto3.session.Session().client("s3", config=chosen)
