"""One trial between the ledger and the trainers: train to the next rung, write it down, report."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from longhaul.ledger import TrialFolder
from longhaul.search.training import Checkpoint, Training
from longhaul.spec.objectives import LOSS, Objective
from longhaul_trainers.training.point import Point

FLUSH_S = 10.0
"""Longest time for which a point of the curve is held back from the ledger."""


@dataclass(frozen=True)
class Report:
    """What a trial tells the scheduler.

    Attributes:
        step: training steps done.
        value: what the search minimises, so far; infinity where the trial diverged.
        done: whether the trial is over.
        diverged: why, or None.
    """

    step: int
    value: float
    done: bool = False
    diverged: str | None = None


class TrialRun:
    """Trains one trial from wherever the ledger says it stands.

    A report that the ledger has already is returned at once, so that what was written but never
    heard is heard exactly once. Everything is in the ledger before `advance` returns.

    Args:
        folder: the trial's part of the ledger.
        begin: starts the training, from a checkpoint if there is one.
        rungs: ascending step counts at which to report; the last is the trial's end.
        heard: the last step that the scheduler has heard of, 0 for none.
        fence: fencing number under which to write.
        checkpoint_every_s: seconds between checkpoints besides those at rungs.
        objective: what the search minimises.
        batch_size: the trial's.
        alive: called with every point.
    """

    def __init__(
        self,
        folder: TrialFolder,
        begin: Callable[[Checkpoint | None], Training],
        rungs: Sequence[int],
        *,
        heard: int,
        fence: int,
        checkpoint_every_s: float,
        objective: Objective = LOSS,
        batch_size: int = 1,
        alive: Callable[[], None] = lambda: None,
    ) -> None:
        self._folder = folder
        self._begin = begin
        self._rungs = list(rungs)
        self._heard = heard
        self._fence = fence
        self._checkpoint_every_s = checkpoint_every_s
        self._objective = objective
        self._batch_size = batch_size
        self._alive = alive
        self._curve = _recorded_curve(folder, objective)
        self._pending: list[dict[str, object]] = []
        self._training: Training | None = None

    @property
    def recorded(self) -> int:
        """Step of the last point in the ledger, 0 for none."""
        return max(self._curve, default=0)

    def advance(self) -> Report:
        """The report of the next rung, trained for unless it is in the ledger already."""
        result = self._folder.result()
        if result is not None and "diverged" in result:
            return Report(result["step"], math.inf, done=True, diverged=result["diverged"])
        rung = next(rung for rung in self._rungs if rung > self._heard)
        last = rung == self._rungs[-1]
        if self.recorded < rung or (last and result is None):
            self._train(rung)
        training = self._training
        if training is not None and training.divergence is not None:
            step, reason = training.divergence.step, training.divergence.reason
            self._folder.write_result({"step": step, "diverged": reason})
            return Report(step, math.inf, done=True, diverged=reason)
        if last and result is None and training is not None:
            left = training.outcome()
            self._folder.write_weights(left.weights, self._fence)
            self._folder.write_result(left.result)
        self._heard = rung
        until = {step: point for step, point in self._curve.items() if step <= rung}
        return Report(rung, self._objective.value(until, self._batch_size), done=last)

    def _train(self, rung: int) -> None:
        training = self._training = self._training or self._begin(self._checkpoint())
        flushed = time.monotonic()
        for point, checkpoint in training.train(rung, self._checkpoint_every_s):
            self._alive()
            self._record(point)
            now = time.monotonic()
            # A checkpoint must not be ahead of the points: nobody would train for them again.
            if checkpoint is not None or now - flushed >= FLUSH_S:
                self._flush()
                flushed = now
            if checkpoint is not None:
                self._folder.save_checkpoint(point.step, checkpoint, self._fence)
        self._flush()

    def _checkpoint(self) -> Checkpoint | None:
        found = self._folder.load_checkpoint()
        return None if found is None else found[1]

    def _record(self, point: Point) -> None:
        # A checkpoint may be older than the last point: what is trained again for it gives the
        # same numbers, which are in the ledger already.
        if point.step <= self.recorded:
            return
        self._pending.append({"step": point.step, "time": datetime.now(UTC), **point.metrics})
        self._curve[point.step] = _part(point.metrics, self._objective)

    def _flush(self) -> None:
        if self._pending:
            self._folder.append_history(self._pending, self._fence)
            self._pending = []


def _recorded_curve(folder: TrialFolder, objective: Objective) -> dict[int, dict[str, float]]:
    table = folder.history()
    known = [name for name in objective.columns if name in table.column_names]
    rows = table.select(["step", *known]).to_pylist()
    return {row.pop("step"): _part(row, objective) for row in rows}


def _part(metrics: Mapping[str, float | None], objective: Objective) -> dict[str, float]:
    """What an objective looks at, as far as it was measured."""
    found = {name: metrics.get(name) for name in objective.columns}
    return {name: value for name, value in found.items() if value is not None}
