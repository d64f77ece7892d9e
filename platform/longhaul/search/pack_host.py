"""Trains the packs of one device, for trials in other processes."""

import os
import secrets
import threading
import time
import traceback
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from longhaul.environment import capture
from longhaul.search.hosted_training import News
from longhaul.search.own_pack import outcome
from longhaul.search.training import Checkpoint, TrialOutcome
from longhaul_trainers.training.continuous_pack import ContinuousPack, Progress, Stretch
from longhaul_trainers.training.settings import TrialConfig
from longhaul_trainers.training.slot_state import SlotState

LEASE_S = 60.0
"""A trial that nobody has asked about for so long is dropped: its own process is gone."""
KEEP_S = 60.0
"""How long a structure's evaluation sets are kept once none of its trials trains."""
SPARE = {"cpu": 0.0, "cuda": 0.5}
"""The part of a pack's slots that may lie idle, see `ContinuousPack`."""


@dataclass
class _Ticket:
    number: int
    asked: float
    told: list[tuple[Progress, TrialOutcome | None] | str] = field(default_factory=list)


@dataclass
class _Hosted:
    pack: ContinuousPack
    used: float


class PackHost:
    """Trains trials in packs, one pack for each structure, one step of each in turn.

    One thread does all the arithmetic. The methods are called by other threads, one for each trial
    that waits for news; what they cost (checkpoints read and written as bytes) is theirs.

    A trial whose training raises ends with the traceback. Where several train together nobody can
    tell which one it was: each goes on by itself, from its last checkpoint. So does, from then on,
    every trial that has failed here before.

    Args:
        device: where to compute.
        threads: threads for the arithmetic.
    """

    def __init__(self, device: str, threads: int) -> None:
        self._device = device
        self._threads = threads
        self._news = threading.Condition()
        self._orders: list[Callable[[], None]] = []
        self._tickets: dict[str, _Ticket] = {}
        self._packs: dict[Hashable, _Hosted] = {}
        self._failed: set[int] = set()
        threading.Thread(target=self._run, name="training", daemon=True).start()

    def environment(self) -> dict[str, Any]:
        """What the trials here compute on."""
        return capture(self._device, self._threads) | {"node": os.uname().nodename}

    def take_on(
        self,
        number: int,
        config: Mapping[str, Any],
        until: int,
        checkpoint: Checkpoint | None,
        checkpoint_every_s: float,
    ) -> str:
        """Trains a trial on, in place of whatever was still being done for it.

        Args:
            number: the trial's number.
            config: its configuration.
            until: step count at which to end.
            checkpoint: where it stands; None where it begins.
            checkpoint_every_s: seconds between checkpoints.

        Returns:
            A ticket to ask for news with.
        """
        trial = TrialConfig.parse(dict(config))
        state = None if checkpoint is None else SlotState.from_checkpoint(checkpoint)
        stretch = Stretch(trial, until, state, checkpoint_every_s)
        ticket = secrets.token_hex(8)
        with self._news:
            for old in [key for key, one in self._tickets.items() if one.number == number]:
                self._drop(old)
            self._tickets[ticket] = _Ticket(number, time.monotonic())
            self._orders.append(lambda: self._admit(ticket, number, stretch))
            self._news.notify_all()
        return ticket

    def news(self, ticket: str, patience_s: float) -> list[News] | None:
        """What there is to tell of a trial, after a while if there is nothing yet.

        Returns:
            None where the ticket is unknown: the trial must be handed in again.
        """
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

    def _drop(self, ticket: str) -> None:
        del self._tickets[ticket]
        self._orders.append(lambda: self._withdraw(ticket))

    def _run(self) -> None:
        # This thread's own: the number that another one has set may not hold here.
        torch.set_num_threads(self._threads)
        try:
            while True:
                self._round()
        except BaseException:
            # Without this thread the process would keep everybody waiting; Ray starts another.
            traceback.print_exc()
            os._exit(1)

    def _round(self) -> None:
        with self._news:
            if not self._orders and not self._busy():
                self._news.wait(1.0)
            self._drop_the_dead()
            orders, self._orders = self._orders, []
        for order in orders:
            order()
        self._forget_the_unused()
        for key, hosted in list(self._packs.items()):
            if hosted.pack.stretches:
                hosted.used = time.monotonic()
                self._step(key, hosted.pack)

    def _step(self, key: Hashable, pack: ContinuousPack) -> None:
        try:
            told = pack.step()
        except Exception as error:
            self._separate(key, pack, error)
            return
        for one in told:
            try:
                self._tell(one.key, (one, self._outcome(pack, one)))
            except Exception as error:
                self._fail(one.key, error)

    def _outcome(self, pack: ContinuousPack, one: Progress) -> TrialOutcome | None:
        if not one.over or one.state is None or one.state.divergence is not None:
            return None
        if one.state.step < (one.state.trial.training.steps or 0):
            return None
        return outcome(one.state, pack.measure(one.state.trial), pack.test(one.state))

    def _tell(self, key: Hashable, entry: tuple[Progress, TrialOutcome | None] | str) -> None:
        with self._news:
            ticket = self._tickets.get(str(key))
            if ticket is not None:
                ticket.told.append(entry)
                self._news.notify_all()

    def _fail(self, key: Hashable, error: Exception) -> None:
        ticket = self._tickets.get(str(key))
        if ticket is not None:
            self._failed.add(ticket.number)
        self._tell(key, "".join(traceback.format_exception(error)))

    def _separate(self, key: Hashable, pack: ContinuousPack, error: Exception) -> None:
        """Has each trial of a pack that raised go on by itself; ends one that did already."""
        if "CUDA error" in str(error):
            os._exit(1)  # nothing on this device works any more in this process
        stretches = pack.stretches
        del self._packs[key]
        if len(stretches) > 1:
            for ticket, stretch in stretches.items():
                alone = ContinuousPack(self._device)
                alone.admit(ticket, stretch)
                self._packs[ticket] = _Hosted(alone, time.monotonic())
            return
        for ticket in stretches:
            self._fail(ticket, error)

    def _admit(self, ticket: str, number: int, stretch: Stretch) -> None:
        key = ticket if number in self._failed else repr(stretch.trial.structure())
        if key not in self._packs:
            spare = SPARE.get(torch.device(self._device).type, 0.0)
            self._packs[key] = _Hosted(ContinuousPack(self._device, spare), time.monotonic())
        self._packs[key].pack.admit(ticket, stretch)

    def _withdraw(self, ticket: str) -> None:
        for hosted in self._packs.values():
            hosted.pack.withdraw(ticket)

    def _busy(self) -> bool:
        return any(hosted.pack.stretches for hosted in self._packs.values())

    def _drop_the_dead(self) -> None:
        now = time.monotonic()
        for key in [key for key, one in self._tickets.items() if now - one.asked > LEASE_S]:
            self._drop(key)

    def _forget_the_unused(self) -> None:
        now = time.monotonic()
        for key, hosted in list(self._packs.items()):
            if not hosted.pack.stretches and now - hosted.used > KEEP_S:
                del self._packs[key]


def _as_news(entry: tuple[Progress, TrialOutcome | None] | str) -> News:
    if isinstance(entry, str):
        return News(over=True, error=entry)
    progress, left = entry
    divergence = progress.state.divergence if progress.state else None
    checkpoint = None
    if progress.state is not None and progress.point is not None and divergence is None:
        checkpoint = progress.state.checkpoint()
    return News(progress.point, checkpoint, progress.over, divergence, left)
