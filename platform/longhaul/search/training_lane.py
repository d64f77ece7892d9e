"""One thread that trains packs, for a pack host."""

import os
import threading
import time
import traceback
from collections.abc import Callable, Hashable
from dataclasses import dataclass

import torch

from longhaul.search.own_pack import outcome
from longhaul.search.training import TrialOutcome
from longhaul_trainers.training.continuous_pack import ContinuousPack, Progress, Stretch
from longhaul_trainers.training.pack_size import cached_slots
from longhaul_trainers.training.settings import TrialConfig

KEEP_S = 60.0
"""How long a structure's evaluation sets are kept once none of its trials trains."""
SPARE = {"cpu": 0.0, "cuda": 0.5}
"""The part of a pack's slots that may lie idle, see `ContinuousPack`."""

APART = "apart"
Entry = tuple[Progress, TrialOutcome | None] | str
"""What becomes of a trial: progress, with what it leaves in the end; or the traceback; or `APART`,
where its pack hung and nobody can tell by whose fault."""


@dataclass
class _Hosted:
    pack: ContinuousPack
    structure: str
    used: float


class TrainingLane:
    """Trains its trials in packs of equal structure, one step of each pack in turn.

    A trial whose training raises ends with the traceback. Where several train together nobody can
    tell which one it was: each goes on by itself, from its last checkpoint. So does, from then on,
    every trial that has failed here before.

    On a CPU a pack takes no more trials than its caches hold; there are several of them then.

    Args:
        device: where to compute.
        failed: the trials that have failed before, shared by the lanes of a host.
        tell: hears what becomes of a trial, by its ticket, in the lane's thread.
        tend: called now and then, in the lane's thread.
    """

    def __init__(
        self,
        device: str,
        failed: set[int],
        tell: Callable[[str, Entry], None],
        tend: Callable[[], None],
    ) -> None:
        self._device = torch.device(device)
        self._tell = tell
        self._tend = tend
        self._called = threading.Condition()
        self._orders: list[Callable[[], None]] = []
        self._packs: dict[Hashable, _Hosted] = {}
        self._numbers: dict[str, int] = {}
        self._failed = failed
        # Since when, and with whom: the step that is being done.
        self._doing: tuple[float, list[str]] | None = None
        threading.Thread(target=self._run, name="training", daemon=True).start()

    @property
    def load(self) -> int:
        """How many trials are here."""
        return len(self._numbers)

    def admit(self, ticket: str, number: int, stretch: Stretch) -> None:
        """Trains a stretch of a trial from the next step on, and tells of it under its ticket."""
        self._numbers[ticket] = number
        self._order(lambda: self._admit(ticket, stretch))

    def withdraw(self, ticket: str) -> None:
        """Drops a stretch, if it is there; its last steps are lost."""
        self._numbers.pop(ticket, None)
        self._order(lambda: self._withdraw(ticket))

    def busy(self) -> bool:
        """Whether anything is left to train."""
        with self._called:
            return bool(self._orders) or self._training()

    def hanging(self, deadline_s: float) -> list[str]:
        """Those, by ticket, with whom one step takes longer than so many seconds."""
        doing = self._doing
        if doing is None or time.monotonic() - doing[0] < deadline_s:
            return []
        return doing[1]

    def _order(self, order: Callable[[], None]) -> None:
        with self._called:
            self._orders.append(order)
            self._called.notify_all()

    def _run(self) -> None:
        # A slot's arithmetic has one thread: with more of them, its last bits would depend on how
        # many. This thread's own: the number that another one has set may not hold here.
        torch.set_num_threads(1)
        try:
            while True:
                self._round()
        except BaseException:
            # Without this thread the process would keep everybody waiting; Ray starts another.
            traceback.print_exc()
            os._exit(1)

    def _round(self) -> None:
        with self._called:
            if not self._orders and not self._training():
                self._called.wait(1.0)
        self._tend()
        with self._called:
            orders, self._orders = self._orders, []
        for order in orders:
            order()
        self._forget_the_unused()
        for key, hosted in list(self._packs.items()):
            if hosted.pack.stretches:
                hosted.used = time.monotonic()
                self._doing = hosted.used, [str(one) for one in hosted.pack.stretches]
                self._step(key, hosted)
                self._doing = None

    def _step(self, key: Hashable, hosted: _Hosted) -> None:
        try:
            told = hosted.pack.step()
        except Exception as error:
            self._separate(key, hosted, error)
            return
        for one in told:
            ticket = str(one.key)
            try:
                entry = (one, self._outcome(hosted.pack, one))
            except Exception as error:
                self._fail(ticket, error)
                continue
            if one.over:
                self._numbers.pop(ticket, None)
            self._tell(ticket, entry)

    def _outcome(self, pack: ContinuousPack, one: Progress) -> TrialOutcome | None:
        if not one.over or one.state is None or one.state.divergence is not None:
            return None
        if one.state.step < (one.state.trial.training.steps or 0):
            return None
        return outcome(one.state, pack.measure(one.state.trial), pack.test(one.state))

    def _fail(self, ticket: str, error: Exception) -> None:
        number = self._numbers.pop(ticket, None)
        if number is not None:
            self._failed.add(number)
        self._tell(ticket, "".join(traceback.format_exception(error)))

    def _separate(self, key: Hashable, hosted: _Hosted, error: Exception) -> None:
        """Has each trial of a pack that raised go on by itself; ends one that did already."""
        if "CUDA error" in str(error):
            os._exit(1)  # nothing on this device works any more in this process
        stretches = hosted.pack.stretches
        del self._packs[key]
        if len(stretches) > 1:
            for ticket, stretch in stretches.items():
                self._new_pack(ticket, hosted.structure).admit(ticket, stretch)
            return
        for ticket in stretches:
            self._fail(str(ticket), error)

    def _admit(self, ticket: str, stretch: Stretch) -> None:
        number = self._numbers.get(ticket)
        if number is None:
            return  # withdrawn in the meantime
        structure = repr(stretch.trial.structure())
        if number in self._failed:
            self._new_pack(ticket, structure).admit(ticket, stretch)
            return
        index = 0
        while not self._has_room((structure, index), stretch.trial):
            index += 1
        key = (structure, index)
        found = self._packs.get(key)
        pack = self._new_pack(key, structure) if found is None else found.pack
        pack.admit(ticket, stretch)

    def _has_room(self, key: Hashable, trial: TrialConfig) -> bool:
        if key not in self._packs or self._device.type != "cpu":
            return True
        pack = self._packs[key].pack
        return len(pack.stretches) < cached_slots(trial, pack.measure(trial).task)

    def _new_pack(self, key: Hashable, structure: str) -> ContinuousPack:
        alike = [one.pack for one in self._packs.values() if one.structure == structure]
        measure = alike[0].known_measure if alike else None
        pack = ContinuousPack(self._device, SPARE.get(self._device.type, 0.0), measure)
        self._packs[key] = _Hosted(pack, structure, time.monotonic())
        return pack

    def _withdraw(self, ticket: str) -> None:
        for hosted in self._packs.values():
            hosted.pack.withdraw(ticket)

    def _training(self) -> bool:
        return any(hosted.pack.stretches for hosted in self._packs.values())

    def _forget_the_unused(self) -> None:
        now = time.monotonic()
        for key, hosted in list(self._packs.items()):
            if not hosted.pack.stretches and now - hosted.used > KEEP_S:
                del self._packs[key]
