"""The ledger: the durable, append-only record of a search, and the single source of truth."""

import os
from collections.abc import Iterator, Mapping
from typing import Any

from longhaul.ledger.errors import SearchExistsError, StorageError, UnknownSearchError
from longhaul.ledger.event_reader import EventReader
from longhaul.ledger.events import Event
from longhaul.ledger.exact_json import dumps, loads
from longhaul.ledger.lease import (
    HEARTBEAT_S,
    PATIENCE_S,
    Lease,
    Owner,
    is_alive,
    newest_lease,
    take_lease,
)
from longhaul.ledger.record import Fold, SearchRecord
from longhaul.ledger.storage import Storage, check_search_name, is_search_name, open_storage
from longhaul.ledger.trial_folder import TrialFolder as TrialFolder
from longhaul.ledger.writer import LedgerWriter as LedgerWriter

_SPEC = "spec.yaml"
_ENVIRONMENT = "environment.json"


class Ledger:
    """One search in a storage. Reading needs no lease and disturbs nobody.

    Made by `Ledger.create` or `Ledger.open`. May be pickled and sent to another machine that sees
    the same storage.

    Args:
        storage: the search's own part of the storage.
        name: the search.
    """

    def __init__(self, storage: Storage, name: str) -> None:
        self.name = name
        self.storage = storage
        self._fold = Fold(name)
        self._reader = EventReader(storage)

    def __repr__(self) -> str:
        return f"Ledger({self.storage!r}, {self.name!r})"

    def __reduce__(self) -> tuple[type["Ledger"], tuple[Storage, str]]:
        return Ledger, (self.storage, self.name)

    @classmethod
    def create(
        cls,
        storage: str | os.PathLike[str] | Storage,
        name: str,
        spec_text: str,
        environment: Mapping[str, Any],
    ) -> "Ledger":
        """Begin a search.

        Args:
            storage: the storage of all searches, or its address.
            name: a name no search there has.
            spec_text: the resolved specification, YAML.
            environment: what it is started on.

        Raises:
            SearchExistsError: the name is taken. Of several callers exactly one succeeds.
            RequestError: it cannot be a name.
        """
        check_search_name(name)
        root = _opened(storage)
        ledger = cls(root.folder(name), name)
        if ledger.storage.exists(_SPEC) or not ledger.storage.create(_SPEC, spec_text.encode()):
            raise SearchExistsError(name, root.uri)
        ledger.write_environment(environment)
        return ledger

    @classmethod
    def open(cls, storage: str | os.PathLike[str] | Storage, name: str) -> "Ledger":
        """A search that was created before.

        Raises:
            UnknownSearchError: there is none of this name.
            RequestError: it cannot be a name.
        """
        check_search_name(name)
        root = _opened(storage)
        ledger = cls(root.folder(name), name)
        if not ledger.storage.exists(_SPEC):
            raise UnknownSearchError(name, root.uri, cls.names(root))
        return ledger

    @staticmethod
    def names(storage: str | os.PathLike[str] | Storage) -> list[str]:
        """All searches in a storage, sorted."""
        root = _opened(storage)
        named = (name for name in root.list("") if is_search_name(name))
        return [name for name in named if root.exists(f"{name}/{_SPEC}")]

    def spec_text(self) -> str:
        """The resolved specification, YAML."""
        return self.storage.read(_SPEC).decode()

    def write_environment(self, environment: Mapping[str, Any]) -> None:
        """Record what the search runs on."""
        text = dumps({"format": 1, **environment}, indent=2)
        self.storage.write(_ENVIRONMENT, text.encode() + b"\n")

    def environment(self) -> dict[str, Any]:
        """What the search was started on; empty if its start was cut short."""
        try:
            environment = dict(loads(self.storage.read(_ENVIRONMENT)))
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError) as error:
            raise StorageError(f"{self.storage.uri}/{_ENVIRONMENT} is damaged") from error
        environment.pop("format", None)
        return environment

    def events(self, after: int = -1) -> list[Event]:
        """The events beyond one, in order; the cost is that of the new ones."""
        return list(self._reader.read(after))

    def iterate_events(self, after: int = -1) -> Iterator[Event]:
        """The same one by one, for a search whose events are many."""
        return self._reader.read(after)

    def trial(self, number: int) -> TrialFolder:
        """What is kept of one trial beside its events."""
        return TrialFolder(self.storage, self.name, number)

    def trial_numbers(self) -> list[int]:
        """The trials that have a folder, ascending."""
        return sorted(int(name) for name in self.storage.list("trials") if name.isdecimal())

    def record(self) -> SearchRecord:
        """The search as its events tell it; a second call pays for new events only."""
        for event in self._reader.read(self._fold.record.last_event):
            self._fold.apply(event)
        lease = newest_lease(self.storage)
        alive = lease is not None and is_alive(self.storage, lease)
        return self._fold.snapshot(lease.owner if lease else None, alive)

    def lease(self) -> Lease | None:
        """Who owns the search, or owned it last; None if nobody ever did."""
        return newest_lease(self.storage)

    def is_owned(self) -> bool:
        """Whether a process seems to be running the search."""
        lease = newest_lease(self.storage)
        return lease is not None and is_alive(self.storage, lease)

    def acquire(
        self,
        owner: Owner | None = None,
        *,
        patience_s: float = PATIENCE_S,
        heartbeat_s: float = HEARTBEAT_S,
        force: bool = False,
    ) -> LedgerWriter:
        """Become the one process that may write; takes over from a dead one.

        Args:
            owner: this process if None.
            patience_s: how long the heartbeat of an owner on another machine must stand still
                before it counts as dead.
            heartbeat_s: seconds between two heartbeats of ours.
            force: take it from a living owner too; that one's next write fails.

        Raises:
            SearchOwnedError: another process runs the search.
        """
        lease = take_lease(self.storage, self.name, owner or Owner.here(), patience_s, force)
        return LedgerWriter(self.storage, self.name, lease, heartbeat_s)


def _opened(storage: str | os.PathLike[str] | Storage) -> Storage:
    return storage if isinstance(storage, Storage) else open_storage(storage)
