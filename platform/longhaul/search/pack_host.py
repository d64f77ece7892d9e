"""Trains the packs of one device, for trials in other processes."""

import os
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from longhaul.environment import capture
from longhaul.search.guardian import stalled
from longhaul.search.hosted_training import News
from longhaul.search.training import Checkpoint
from longhaul.search.training_lane import APART, Entry, TrainingLane
from longhaul_trainers.training.continuous_pack import Stretch
from longhaul_trainers.training.settings import TrialConfig
from longhaul_trainers.training.slot_state import SlotState

LEASE_S = 60.0
"""A trial that nobody has asked about for so long is dropped: its own process is gone."""
LAST_WORDS_S = 3.0
"""How long a host that hangs waits until its trials have heard of it."""


@dataclass
class _Ticket:
    number: int
    lane: TrainingLane
    asked: float
    told: list[Entry] = field(default_factory=list)


class PackHost:
    """Trains trials in packs of equal structure.

    On a CPU there is a `TrainingLane` for each thread, which trains its share of the trials from
    one end to the other; on any other device there is one lane, for its packs should be large.

    The lanes do all the arithmetic. The methods are called by other threads, one for each trial
    that waits for news; what they cost (checkpoints read and written as bytes) is theirs.

    Args:
        device: where to compute.
        threads: threads for the arithmetic.
        deadline_s: how long one step of a pack may take; None: for ever. A host in which one takes
            longer ends itself, for nothing else stops a thread: where several trials trained
            together, they are told to come back and train apart, and one that trained by itself
            has failed. All others are to come back as they were.
    """

    def __init__(self, device: str, threads: int, deadline_s: float | None = None) -> None:
        self._device = device
        self._deadline_s = deadline_s
        self._ending = False
        self._news = threading.Condition()
        self._tickets: dict[str, _Ticket] = {}
        self._failed: set[int] = set()
        self._lanes = [
            TrainingLane(device, self._failed, self._tell, self._drop_the_dead)
            for _ in range(threads if device == "cpu" else 1)
        ]

    def environment(self) -> dict[str, Any]:
        """What the trials here compute on."""
        return capture(self._device, 1) | {"node": os.uname().nodename}

    def take_on(
        self,
        number: int,
        config: Mapping[str, Any],
        until: int,
        checkpoint: Checkpoint | None,
        checkpoint_every_s: float,
        apart: bool = False,
    ) -> str:
        """Trains a trial on, in place of whatever was still being done for it.

        Args:
            number: the trial's number.
            config: its configuration.
            until: step count at which to end.
            checkpoint: where it stands; None where it begins.
            checkpoint_every_s: seconds between checkpoints.
            apart: whether it is to train in a pack of its own.

        Returns:
            A ticket to ask for news with.
        """
        trial = TrialConfig.parse(dict(config))
        state = None if checkpoint is None else SlotState.from_checkpoint(checkpoint)
        stretch = Stretch(trial, until, state, checkpoint_every_s)
        ticket = secrets.token_hex(8)
        with self._news:
            self.withdraw(number)
            if apart:
                self._failed.add(number)
            lane = min(self._lanes, key=lambda one: one.load)
            self._tickets[ticket] = _Ticket(number, lane, time.monotonic())
            lane.admit(ticket, number, stretch)
        return ticket

    def news(self, ticket: str, patience_s: float) -> list[News] | None:
        """What there is to tell of a trial, after a while if there is nothing yet.

        Returns:
            None where the ticket is unknown: the trial must be handed in again.
        """
        self._end_if_stalled()
        with self._news:
            one = self._tickets.get(ticket)
            if one is None:
                return None
            one.asked = time.monotonic()
            self._news.wait_for(lambda: one.told or ticket not in self._tickets, patience_s)
            one.asked = time.monotonic()
            told, one.told = one.told, []
        news = [_as_news(entry) for entry in told]
        if any(entry.over for entry in news):
            with self._news:
                self._tickets.pop(ticket, None)
        return news

    def withdraw(self, number: int) -> None:
        """Gives up whatever is still being done for a trial."""
        with self._news:
            for ticket in [key for key, one in self._tickets.items() if one.number == number]:
                self._drop(ticket)

    def busy(self) -> bool:
        """Whether anything is left to train."""
        return any(lane.busy() for lane in self._lanes)

    def _drop(self, ticket: str) -> None:
        self._tickets.pop(ticket).lane.withdraw(ticket)

    def _drop_the_dead(self) -> None:
        with self._news:
            now = time.monotonic()
            for key in [key for key, one in self._tickets.items() if now - one.asked > LEASE_S]:
                self._drop(key)

    def _end_if_stalled(self) -> None:
        with self._news:
            if self._deadline_s is None or self._ending:
                return
            hanging = [one.hanging(self._deadline_s) for one in self._lanes]
            if not any(hanging):
                return
            self._ending = True
        for tickets in hanging:
            for ticket in tickets:
                together = len(tickets) > 1
                self._tell(ticket, APART if together else stalled(self._deadline_s))
        threading.Timer(LAST_WORDS_S, _end_process).start()

    def _tell(self, ticket: str, entry: Entry) -> None:
        with self._news:
            one = self._tickets.get(ticket)
            if one is not None:
                one.told.append(entry)
                self._news.notify_all()


def _end_process() -> None:
    os._exit(1)  # Ray starts another


def _as_news(entry: Entry) -> News:
    if entry == APART:
        return News(over=True, apart=True)
    if isinstance(entry, str):
        return News(over=True, error=entry)
    progress, left = entry
    divergence = progress.state.divergence if progress.state else None
    checkpoint = None
    if progress.state is not None and progress.point is not None and divergence is None:
        checkpoint = progress.state.checkpoint()
    return News(progress.point, checkpoint, progress.over, divergence, left)
