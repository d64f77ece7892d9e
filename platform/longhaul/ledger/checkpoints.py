"""Checkpoints of one trial: whole sets of files, verified when they are read.

A checkpoint is ``checkpoint/STEP-TOKEN/`` with its files and, written last, ``manifest.json`` with
the SHA-256 of each. Without a manifest it is unfinished; with a wrong sum it is damaged; both are
passed over. The token keeps two processes apart that reach the same step.
"""

import contextlib
import hashlib
import json
import logging
import re
import secrets
from collections.abc import Mapping

from longhaul.errors import RequestError
from longhaul.ledger.errors import StorageError
from longhaul.ledger.storage import Storage

_FORMAT = 1
_MANIFEST = "manifest.json"
_NAME = re.compile(r"(\d{10,})-[0-9a-f]{8}")
_log = logging.getLogger("longhaul.ledger")


class DamagedCheckpointError(ValueError):
    """A checkpoint is unfinished or not what was written."""


def save_checkpoint(storage: Storage, folder: str, step: int, files: Mapping[str, bytes]) -> None:
    """Write a checkpoint, then remove all but the newest two good ones.

    Args:
        storage: the search's storage.
        folder: where the trial's checkpoints lie.
        step: training steps done.
        files: content by name; names are paths inside the checkpoint.

    Raises:
        StorageError: it could not be written; the earlier ones are untouched.
    """
    if _MANIFEST in files:
        raise ValueError(f"a checkpoint cannot hold a file called {_MANIFEST}")
    name = f"{step:010d}-{secrets.token_hex(4)}"
    try:
        for path, data in files.items():
            storage.write(f"{folder}/{name}/{path}", data)
        storage.write(f"{folder}/{name}/{_MANIFEST}", _manifest(step, files))
    except Exception:
        with contextlib.suppress(StorageError):
            storage.delete(f"{folder}/{name}")
        raise
    try:
        _prune(storage, folder, name)
    except StorageError as error:  # the new one is safe; the next call tries again
        _log.warning("old checkpoints were not removed: %s", error)


def load_checkpoint(storage: Storage, folder: str) -> tuple[int, dict[str, bytes]] | None:
    """The newest good checkpoint as its step and files; None if there is none."""
    passed: set[str] = set()
    while True:
        names = [name for name in reversed(_names(storage, folder)) if name not in passed]
        if not names:
            return None
        for name in names:
            passed.add(name)
            try:
                return _step(name), _read(storage, folder, name)
            except DamagedCheckpointError as error:
                _log.warning("checkpoint %s/%s/%s: %s", storage.uri, folder, name, error)
        # All failed: perhaps their writer replaced them meanwhile, so look again.


def checkpoint_steps(storage: Storage, folder: str) -> list[int]:
    """The steps of which there is a finished checkpoint, ascending; not verified."""
    finished = (
        name for name in _names(storage, folder) if storage.exists(f"{folder}/{name}/{_MANIFEST}")
    )
    return [_step(name) for name in finished]


def replaced_checkpoints(storage: Storage, folder: str) -> list[str]:
    """The paths of all checkpoints but the newest good one; of all where none is good."""
    names = list(reversed(_names(storage, folder)))
    newest = next((name for name in names if _is_good(storage, folder, name)), None)
    return [f"{folder}/{name}" for name in names if name != newest]


def _prune(storage: Storage, folder: str, new: str) -> None:
    """Keep the new one and the newest good one before it.

    Those of later steps go too: whoever saves at this step did not start from them.
    """
    spare_found = False
    for name in reversed(_names(storage, folder)):
        if name == new:
            continue
        if not spare_found and _step(name) < _step(new) and _is_good(storage, folder, name):
            spare_found = True
            continue
        storage.delete(f"{folder}/{name}")


def _is_good(storage: Storage, folder: str, name: str) -> bool:
    try:
        _read(storage, folder, name)
    except DamagedCheckpointError:
        return False
    return True


def _read(storage: Storage, folder: str, name: str) -> dict[str, bytes]:
    try:
        manifest = json.loads(storage.read(f"{folder}/{name}/{_MANIFEST}"))
        if manifest["format"] > _FORMAT:
            raise DamagedCheckpointError("the manifest is of a newer version of Longhaul")
        if manifest["step"] != _step(name):
            raise DamagedCheckpointError("the manifest names another step")
        files = {}
        for path, expected in manifest["files"].items():
            files[path] = storage.read(f"{folder}/{name}/{path}")
            if hashlib.sha256(files[path]).hexdigest() != expected["sha256"]:
                raise DamagedCheckpointError(f"{path} is not what was written")
    except DamagedCheckpointError:
        raise
    except FileNotFoundError as error:
        raise DamagedCheckpointError(f"{error.filename} is missing") from error
    except (KeyError, TypeError, AttributeError, RequestError, ValueError) as error:
        raise DamagedCheckpointError("the manifest is unreadable") from error
    return files


def _manifest(step: int, files: Mapping[str, bytes]) -> bytes:
    sums = {
        path: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        for path, data in files.items()
    }
    return json.dumps({"format": _FORMAT, "step": step, "files": sums}, indent=2).encode()


def _names(storage: Storage, folder: str) -> list[str]:
    found = (name for name in storage.list(folder) if _NAME.fullmatch(name))
    return sorted(found, key=lambda name: (_step(name), name))


def _step(name: str) -> int:
    return int(name.partition("-")[0])
