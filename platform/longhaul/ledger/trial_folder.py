"""What is kept of one trial beside its events."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from longhaul.ledger import checkpoints
from longhaul.ledger.errors import StorageError
from longhaul.ledger.exact_json import dumps, loads
from longhaul.ledger.history import History
from longhaul.ledger.lease import check_fence
from longhaul.ledger.storage import Storage

if TYPE_CHECKING:
    import pyarrow


class TrialFolder:
    """The folder ``trials/NNNNN`` of a search.

    Each thing has a method that writes it, atomically and durably, and one that reads it, which
    gives None if it was not written yet. Whoever passes the fencing number under which it works is
    stopped with a `StaleOwnerError` once the search has a newer owner.

    Args:
        storage: the search's storage.
        search: the search's name, for messages.
        number: the trial's number.
    """

    def __init__(self, storage: Storage, search: str, number: int) -> None:
        self.number = number
        self.path = f"trials/{number:05d}"
        self._storage = storage
        self._search = search
        self._history = History(storage, f"{self.path}/history")
        self._checkpoints = f"{self.path}/checkpoint"

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Record the trial's resolved configuration."""
        import yaml

        text = yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True)
        self._storage.write(f"{self.path}/config.yaml", text.encode())

    def config(self) -> dict[str, Any] | None:
        """The trial's resolved configuration."""
        import yaml

        text = self._read("config.yaml")
        try:
            return None if text is None else dict(yaml.safe_load(text))
        except (yaml.YAMLError, ValueError, TypeError) as error:
            raise self._damaged("config.yaml") from error

    def write_environment(self, environment: Mapping[str, Any]) -> None:
        """Record what the trial ran on."""
        self._write_json("environment.json", environment)

    def environment(self) -> dict[str, Any] | None:
        """What the trial ran on."""
        return self._read_json("environment.json")

    def append_history(self, rows: Sequence[Mapping[str, object]], fence: int) -> None:
        """Add rows to the history; see `History.append`. Durable when it returns.

        Raises:
            StaleOwnerError: the search has a newer owner; nothing was written.
        """
        self._check(fence)
        self._history.append(rows, fence)

    def history(self, after: int = -1) -> "pyarrow.Table":
        """The rows beyond a step, one a step, sorted; see `History.read`."""
        return self._history.read(after)

    def merge_history(self) -> None:
        """Make one file of the history's segments; at the end of a trial."""
        self._history.merge()

    def save_checkpoint(
        self, step: int, files: Mapping[str, bytes], fence: int | None = None
    ) -> None:
        """Keep a checkpoint, and of the earlier ones the newest good one.

        Raises:
            StaleOwnerError: the search has a newer owner; nothing was written.
            StorageError: it could not be written; the earlier ones are untouched.
        """
        self._check(fence)
        checkpoints.save_checkpoint(self._storage, self._checkpoints, step, files)

    def load_checkpoint(self) -> tuple[int, dict[str, bytes]] | None:
        """The newest good checkpoint as its step and files; damaged ones are passed over."""
        return checkpoints.load_checkpoint(self._storage, self._checkpoints)

    def checkpoint_steps(self) -> list[int]:
        """Steps of the finished checkpoints, ascending; not verified."""
        return checkpoints.checkpoint_steps(self._storage, self._checkpoints)

    def spare_paths(self, *, checkpoint: bool, weights: bool) -> list[str]:
        """What an ended trial can do without, as paths in the search's storage.

        Args:
            checkpoint: whether its newest good checkpoint stays.
            weights: whether its best weights stay.
        """
        every = [f"{self._checkpoints}/{one}" for one in self._storage.list(self._checkpoints)]
        found = (
            checkpoints.replaced_checkpoints(self._storage, self._checkpoints)
            if checkpoint
            else every
        )
        own = f"{self.path}/weights"
        return found + ([own] if not weights and self._storage.exists(own) else [])

    def write_weights(self, data: bytes, fence: int | None = None) -> None:
        """Keep the best weights so far, in safetensors format."""
        self._check(fence)
        self._storage.write(f"{self.path}/weights/best.safetensors", data)

    def weights(self) -> bytes | None:
        """The best weights, in safetensors format."""
        return self._read("weights/best.safetensors")

    def write_error(self, text: str) -> None:
        """Keep why the trial failed, traceback included."""
        self._storage.write(f"{self.path}/error.txt", text.encode())

    def error(self) -> str | None:
        """Why the trial failed."""
        data = self._read("error.txt")
        return None if data is None else data.decode(errors="replace")

    def write_result(self, result: Mapping[str, Any]) -> None:
        """Keep the trial's result."""
        self._write_json("result.json", result)

    def result(self) -> dict[str, Any] | None:
        """The trial's result."""
        return self._read_json("result.json")

    def _check(self, fence: int | None) -> None:
        if fence is not None:
            check_fence(self._storage, self._search, fence)

    def _read(self, name: str) -> bytes | None:
        try:
            return self._storage.read(f"{self.path}/{name}")
        except FileNotFoundError:
            return None

    def _write_json(self, name: str, value: Mapping[str, Any]) -> None:
        text = dumps({"format": 1, **value}, indent=2)
        self._storage.write(f"{self.path}/{name}", text.encode() + b"\n")

    def _read_json(self, name: str) -> dict[str, Any] | None:
        data = self._read(name)
        if data is None:
            return None
        try:
            value = dict(loads(data))
        except (ValueError, TypeError) as error:
            raise self._damaged(name) from error
        value.pop("format", None)
        return value

    def _damaged(self, name: str) -> StorageError:
        return StorageError(f"{self._storage.uri}/{self.path}/{name} is damaged")
