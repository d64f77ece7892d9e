"""The limits of a search: what they are now, how much of them is used, who asks to change them."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from longhaul.ledger import Event, Storage
from longhaul.search.requests import Request, applied, limits_of, read_requests
from longhaul.search.spending import Budget, Spending
from longhaul.spec.search_spec import SearchSpec
from longhaul_trainers.errors import SettingError

_log = logging.getLogger("longhaul.search")
LOOK_S = 1.0
"""Seconds between two looks for requests to change the search."""


class Limits:
    """Those of one search, by what its ledger says, what was asked since, and what is asked now.

    Args:
        spec: what the search was begun with.
        storage: the search's part of the storage, for requests.
        events: all of the search so far.
        changes: settings of `CHANGEABLE` that are to be others from now on.
    """

    def __init__(
        self,
        spec: SearchSpec,
        storage: Storage,
        events: Sequence[Event],
        changes: Mapping[str, Any],
    ) -> None:
        self.spending = Spending()
        for event in events:
            self.spending.apply(event)
        self._storage = storage
        self._gpus = spec.resources.gpus
        self._looked = 0.0
        self._changes, self._requests = limits_of(events)
        self.search = applied(spec.search, self._changes)
        """The settings in force."""
        for request in self._heed():
            self._changes |= request.changes
        self._changes |= changes
        self.search = applied(self.search, changes)
        self.room: int | None = None
        """How many trials find a place at once; None until that is known."""
        self.room_is_all = False
        """Whether there will be no more: pack hosts are started once, nodes may join later."""

    @property
    def recorded(self) -> dict[str, Any]:
        """What the event says with which the search is opened, beside the number of trials."""
        changes = {key: one for key, one in self._changes.items() if key != "trials"}
        told = {"limits": changes, "requests": self._requests, "gpus": self._gpus}
        return {key: one for key, one in told.items() if one}

    @property
    def at_once(self) -> int | None:
        """How many trials run at once; None: as many as anybody asks for."""
        parallel, room = self.search.parallel, self.room
        if parallel is None or room is None:
            return parallel or room
        return min(parallel, room) if self.room_is_all else parallel

    def heed_requests(self) -> Iterator[Request]:
        """Changes what somebody asked to change, one request after the other, now and then."""
        now = time.monotonic()
        if now - self._looked < LOOK_S:
            return
        self._looked = now
        yield from self._heed()

    def _heed(self) -> Iterator[Request]:
        for request in read_requests(self._storage, self._requests):
            self._requests = request.number + 1
            try:
                self.search = applied(self.search, request.changes)
            except SettingError as error:  # `longhaul set` would have refused it
                _log.warning("request %d is left: %s", request.number, error)
                request = replace(request, changes={})
            yield request

    def budgets(self, trials: int, failed: int, steps: int) -> list[Budget]:
        """The limits, and how much of each is used by now.

        Args:
            trials: how many were begun.
            failed: how many of them failed.
            steps: training steps of all of them.
        """
        search = self.search
        found = [
            Budget("trials", search.trials, trials, ends=False),
            Budget("max_failed_trials", search.max_failed_trials, failed, ends=False),
        ]
        seconds, gpu_hours = self.spending.now()
        used = {"steps": steps, "seconds": seconds, "gpu_hours": gpu_hours}
        limits = {name: getattr(search, name) for name in used}
        return found + [
            Budget(name, limit, used[name]) for name, limit in limits.items() if limit is not None
        ]
