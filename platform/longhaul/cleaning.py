"""What searches keep and can do without: told first, removed when asked to.

What trains a trial again, goes on with a search or replays it is never touched unless whole
searches are asked for: specification, events, configurations, curves, results, and the checkpoints
of trials that have not ended. A search that runs is left alone altogether.
"""

import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from longhaul.errors import RequestError
from longhaul.ledger import Ledger, SearchOwnedError, SearchRecord, open_storage
from longhaul.ledger.record import ENDED
from longhaul.search.scratch import abandoned_scratch
from longhaul.tracking.lag import Lag

Keep = Literal["best", "latest", "none"]
KEEP: tuple[Keep, ...] = ("best", "latest", "none")


@dataclass(frozen=True)
class Spare:
    """Something that can go.

    Attributes:
        search: whose it is; None for what a dead driver left on this machine.
        what: in words.
        paths: below the search's folder or, of no search, absolute.
        bytes: what they occupy.
        whole: whether it is the whole search.
    """

    search: str | None
    what: str
    paths: tuple[str, ...]
    bytes: int
    whole: bool = False


@dataclass(frozen=True)
class Kept:
    """A search that is left as it is, and why."""

    search: str
    reason: str


def look_for_spare(
    storage: str,
    name: str | None,
    *,
    keep: Keep = "best",
    older_than: timedelta | None = None,
    whole: bool = False,
) -> Iterator[Spare | Kept]:
    """What can go; nothing is removed.

    Args:
        storage: of the searches.
        name: one of them; None for all, and for what dead drivers left on this machine.
        keep: of ended trials: ``best`` the weights of the best trial, ``latest`` everybody's
            weights and newest checkpoint, ``none`` nothing of either.
        older_than: searches that changed later are left alone.
        whole: whether whole searches go.

    Raises:
        RequestError: there is no such search, or it runs.
    """
    root = open_storage(storage)
    for one in Ledger.names(root) if name is None else [name]:
        ledger = Ledger.open(root, one)
        if ledger.is_owned():
            if name is not None:
                lease = ledger.lease()
                raise SearchOwnedError(one, lease.owner if lease else None)
            yield Kept(one, "it runs")
            continue
        record = ledger.record()
        if older_than is not None and datetime.now(UTC) - _changed(record) < older_than:
            yield Kept(one, f"it changed on {_changed(record):%F}")
        elif whole:
            yield _spare(ledger, "the whole search", [""], whole=True)
        else:
            yield from _of_search(ledger, record, keep)
    if name is None:
        for folder in abandoned_scratch():
            what = "temporary files of a dead driver"
            yield Spare(None, what, (str(folder),), _bytes([folder]))


def remove(storage: str, found: Iterable[Spare]) -> None:
    """Removes what was found; a search that was begun again meanwhile is left alone.

    Raises:
        SearchOwnedError: such a search; what came before it is gone.
    """
    root = open_storage(storage)
    for one in found:
        if one.search is None:
            for path in one.paths:
                shutil.rmtree(path, ignore_errors=True)
            continue
        ledger = Ledger.open(root, one.search)
        with ledger.acquire():  # meanwhile nobody else begins it
            for path in one.paths if not one.whole else ():
                ledger.storage.delete(path)
        if one.whole:
            # The specification first: without it, what a cut removal leaves is no search.
            ledger.storage.delete("spec.yaml")
            root.delete(one.search)


def parse_age(text: str) -> timedelta:
    """A time span such as ``30d``, ``12h`` or ``45m``.

    Raises:
        RequestError: it is none.
    """
    units = {"d": "days", "h": "hours", "m": "minutes"}
    number, unit = text[:-1], text[-1:]
    if unit not in units or not number.isdecimal():
        raise RequestError(f"--older-than {text}: expected days, hours or minutes: 30d, 12h, 45m")
    return timedelta(**{units[unit]: int(number)})


def _of_search(ledger: Ledger, record: SearchRecord, keep: Keep) -> Iterator[Spare | Kept]:
    best = record.best()
    checkpoints: list[str] = []
    weights: list[str] = []
    for number, trial in record.trials.items():
        if trial.state not in ENDED:
            continue
        stays = keep == "latest" or (keep == "best" and best is not None and number == best.number)
        for path in ledger.trial(number).spare_paths(checkpoint=keep == "latest", weights=stays):
            (weights if path.endswith("/weights") else checkpoints).append(path)
    if checkpoints:
        yield _spare(ledger, "checkpoints of trials that have ended", checkpoints)
    lag = Lag.read(ledger.storage)
    if weights and lag is not None and lag.through < record.last_event:
        yield Kept(ledger.name, "MLflow may not have all weights yet; longhaul sync delivers them")
    elif weights:
        whose = "all trials" if keep == "none" else "trials that are not the best"
        yield _spare(ledger, f"weights of {whose}", weights)


def _spare(ledger: Ledger, what: str, paths: list[str], *, whole: bool = False) -> Spare:
    here = ledger.storage.local_path("spec.yaml")
    folders = [] if here is None else [here.parent / path for path in paths]
    return Spare(ledger.name, what, tuple(paths), _bytes(folders), whole)


def _bytes(folders: Iterable[Path]) -> int:
    """The sizes of all files below, links not followed."""
    return sum(
        (Path(folder) / name).lstat().st_size
        for root in folders
        for folder, _, names in os.walk(root)
        for name in names
    )


def _changed(record: SearchRecord) -> datetime:
    times = [time for one in record.trials.values() for time in (one.started, one.ended) if time]
    times += [time for time in (record.started, record.ended) if time]
    return max(times, default=datetime.fromtimestamp(0, UTC))
