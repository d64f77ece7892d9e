"""A pack whose trials come and go: continuous batching."""

import time
from collections.abc import Hashable
from dataclasses import dataclass, replace

import torch

from longhaul_trainers.training.evaluation import Measure
from longhaul_trainers.training.pack import Pack
from longhaul_trainers.training.point import Point
from longhaul_trainers.training.settings import TrialConfig
from longhaul_trainers.training.slot_state import SlotState


@dataclass(frozen=True)
class Stretch:
    """A part of one trial's training.

    Attributes:
        trial: its configuration.
        until: step count at which the part ends.
        state: where the trial stands; None where it begins.
        checkpoint_every_s: seconds after which a point comes with the trial's state.
    """

    trial: TrialConfig
    until: int
    state: SlotState | None = None
    checkpoint_every_s: float = float("inf")


@dataclass(frozen=True)
class Progress:
    """What became of a stretch in one step.

    Attributes:
        key: which stretch.
        point: the point of the curve; None where there was nothing left to train.
        state: the trial's state at the point; at the end, and now and then before.
        over: whether the stretch has ended, at its last step or because the trial diverged.
    """

    key: Hashable
    point: Point | None
    state: SlotState | None
    over: bool


@dataclass
class _Slot:
    key: Hashable
    stretch: Stretch
    saved: float


class ContinuousPack:
    """Trains stretches of trials of one structure in one batched computation.

    A stretch that is taken on joins at the next step, whatever step the others are at; one that has
    ended leaves its slot to the next. What a trial computes does not depend on any of this.

    The batched computation is made anew when trials join: a new `Pack` of the new list of trials
    takes up the state of each. A trial that goes on where it has just stopped finds its slot idle,
    and needs none.

    Args:
        device: where to compute.
        spare: the part of the slots that may lie idle before they are cut off. An idle slot costs
            its full share of a step on a CPU, and next to nothing on a device that is not full.
        measure: of another pack of this structure, to be shared; None: made when it is needed.
    """

    def __init__(
        self, device: str | torch.device, spare: float = 0.0, measure: Measure | None = None
    ) -> None:
        self._device = torch.device(device)
        self._spare = spare
        self.known_measure = measure
        """The task and its fixed sets, once there was any need of them."""
        self._pack: Pack | None = None
        # One for each slot of the pack, None for one that is idle.
        self._slots: list[_Slot | None] = []
        self._joining: dict[Hashable, Stretch] = {}

    @property
    def stretches(self) -> dict[Hashable, Stretch]:
        """All that are not over, each from the last state that was told of it."""
        inside = {slot.key: slot.stretch for slot in self._slots if slot is not None}
        return inside | self._joining

    def admit(self, key: Hashable, stretch: Stretch) -> None:
        """Takes a stretch on, from the next step on."""
        self._joining[key] = stretch

    def withdraw(self, key: Hashable) -> None:
        """Drops a stretch, if it is there; its last steps are lost."""
        self._joining.pop(key, None)
        for p, slot in enumerate(self._slots):
            if slot is not None and slot.key == key:
                self._vacate(p)

    def step(self) -> list[Progress]:
        """One training step of all trials; what there is to tell of it.

        Where it raises, every stretch is still there, as it was when it was last told of.
        """
        over = self._nothing_left()
        if over:
            return over
        self._join()
        pack = self._pack
        if pack is None or all(pack.idle):
            return []
        pack.train_step()
        due = self._due(pack)
        points: dict[int, Point] = {}
        for diverged in (False, True):
            slots = [p for p in due if (pack.divergences[p] is not None) == diverged]
            if slots:
                found = pack.points(slots, valid=not diverged)
                points |= dict(zip(slots, found, strict=True))
        states = {p: self._state(p, slot, pack) for p, slot in due.items()}
        return [self._progress(p, slot, points[p], states[p]) for p, slot in due.items()]

    def test(self, state: SlotState) -> dict[str, float]:
        """Loss and metrics on the test set of the weights with which a trial validated best."""
        return self._alone(state.trial, state).test()[0]

    def measure(self, trial: TrialConfig) -> Measure:
        """The task and its fixed sets."""
        if self.known_measure is None:
            self.known_measure = Measure(trial, self._device)
        return self.known_measure

    def _nothing_left(self) -> list[Progress]:
        """Stretches that need no training."""
        over = []
        for key, stretch in list(self._joining.items()):
            state = stretch.state
            if state and (state.step >= stretch.until or state.divergence):
                del self._joining[key]
                over.append(Progress(key, None, state, over=True))
        return over

    def _due(self, pack: Pack) -> dict[int, _Slot]:
        """The slots whose curve has a point now."""
        every = pack.trials[0].training.evaluate_every
        return {
            p: slot
            for p, slot in enumerate(self._slots)
            if slot is not None and (pack.steps_done[p] % every == 0 or _over(p, slot, pack))
        }

    def _state(self, p: int, slot: _Slot, pack: Pack) -> SlotState | None:
        waited = time.monotonic() - slot.saved
        if _over(p, slot, pack) or waited >= slot.stretch.checkpoint_every_s:
            return pack.slot_state(p)
        return None

    def _progress(self, p: int, slot: _Slot, point: Point, state: SlotState | None) -> Progress:
        over = False
        if state is not None:
            slot.saved = time.monotonic()
            slot.stretch = replace(slot.stretch, state=state)
            over = state.divergence is not None or state.step >= slot.stretch.until
        if over:
            self._vacate(p)
        return Progress(slot.key, point, state, over)

    def _vacate(self, p: int) -> None:
        self._slots[p] = None
        if self._pack is not None:
            self._pack.idle[p] = True

    def _join(self) -> None:
        """Brings the pack's slots up to date."""
        for key, stretch in list(self._joining.items()):
            if self._goes_on(key, stretch):
                del self._joining[key]
        idle = self._slots.count(None)
        if self._joining or idle > self._spare * len(self._slots):
            self._rebuild()

    def _goes_on(self, key: Hashable, stretch: Stretch) -> bool:
        """Whether a stretch found an idle slot of its own trial."""
        if self._pack is None or stretch.state is None:
            return False
        for p, slot in enumerate(self._slots):
            if slot is None and self._pack.trials[p] == stretch.trial:
                self._pack.load(p, stretch.state)
                self._pack.idle[p] = False
                self._slots[p] = _Slot(key, stretch, time.monotonic())
                return True
        return False

    def _rebuild(self) -> None:
        now = time.monotonic()
        staying = [(p, slot) for p, slot in enumerate(self._slots) if slot is not None]
        states = [self._pack.slot_state(p) for p, _ in staying] if self._pack else []
        slots = [slot for _, slot in staying]
        joined = [_Slot(key, stretch, now) for key, stretch in self._joining.items()]
        trials = [slot.stretch.trial for slot in slots + joined]
        if not trials:
            self._pack, self._slots = None, []
            return
        begun = [slot.stretch.state for slot in joined]
        measure = self.measure(trials[0])
        # Only when the new pack is whole are its trials in it, so that an error loses none.
        pack = Pack(trials, self._device, [*states, *begun], measure)
        self._pack, self._slots = pack, [*slots, *joined]
        self._joining.clear()

    def _alone(self, trial: TrialConfig, state: SlotState) -> Pack:
        return Pack([trial], self._device, [state], self.measure(trial))


def _over(p: int, slot: _Slot, pack: Pack) -> bool:
    return pack.divergences[p] is not None or pack.steps_done[p] >= slot.stretch.until
