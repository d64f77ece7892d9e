"""One trial between the ledger and the trainers: train to the next rung, write it down, report."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import safetensors.torch

from longhaul.ledger import TrialFolder
from longhaul_trainers.training.model import SequenceModel
from longhaul_trainers.training.pack import Pack, Point
from longhaul_trainers.training.settings import TrialConfig

FLUSH_S = 10.0
"""Longest time for which a point of the curve is held back from the ledger."""


@dataclass(frozen=True)
class Report:
    """What a trial tells the scheduler.

    Attributes:
        step: training steps done.
        value: lowest validation loss so far; infinity where the trial diverged.
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
        config: its configuration.
        rungs: ascending step counts at which to report; the last is the trial's end.
        heard: the last step that the scheduler has heard of, 0 for none.
        fence: fencing number under which to write.
        checkpoint_every_s: seconds between checkpoints besides those at rungs.
        device: where to compute.
    """

    def __init__(
        self,
        folder: TrialFolder,
        config: TrialConfig,
        rungs: Sequence[int],
        *,
        heard: int,
        fence: int,
        checkpoint_every_s: float,
        device: str,
    ) -> None:
        self._folder = folder
        self._config = config
        self._rungs = list(rungs)
        self._heard = heard
        self._fence = fence
        self._checkpoint_every_s = checkpoint_every_s
        self._device = device
        self._values = _recorded_values(folder)
        self._pending: list[dict[str, object]] = []
        self._pack: Pack | None = None

    @property
    def recorded(self) -> int:
        """Step of the last point in the ledger, 0 for none."""
        return max(self._values, default=0)

    def advance(self) -> Report:
        """The report of the next rung, trained for unless it is in the ledger already."""
        result = self._folder.result()
        if result is not None and "diverged" in result:
            return Report(result["step"], math.inf, done=True, diverged=result["diverged"])
        rung = next(rung for rung in self._rungs if rung > self._heard)
        last = rung == self._rungs[-1]
        if self.recorded < rung or (last and result is None):
            self._train(rung)
        divergence = self._pack.divergences[0] if self._pack else None
        if divergence is not None:
            self._folder.write_result({"step": divergence.step, "diverged": divergence.reason})
            return Report(divergence.step, math.inf, done=True, diverged=divergence.reason)
        if last and result is None and self._pack is not None:
            self._finish(self._pack)
        self._heard = rung
        value = min(value for step, value in self._values.items() if step <= rung)
        return Report(rung, value, done=last)

    def _train(self, rung: int) -> None:
        pack = self._pack = self._pack or self._restored()
        flushed = saved = time.monotonic()
        for (point,) in pack.train(rung):
            self._record(point)
            now = time.monotonic()
            if now - flushed >= FLUSH_S:
                self._flush()
                flushed = now
            if now - saved >= self._checkpoint_every_s:
                self._flush()
                self._folder.save_checkpoint(pack.step, pack.checkpoint(), self._fence)
                saved = now
        self._flush()
        if pack.divergences[0] is None:
            self._folder.save_checkpoint(pack.step, pack.checkpoint(), self._fence)

    def _restored(self) -> Pack:
        pack = Pack([self._config], self._device)
        checkpoint = self._folder.load_checkpoint()
        if checkpoint is not None:
            pack.restore(checkpoint[1])
        return pack

    def _record(self, point: Point) -> None:
        # A checkpoint may be older than the last point: what is trained again for it gives the
        # same numbers, which are in the ledger already.
        if point.step <= self.recorded:
            return
        self._pending.append({"step": point.step, "time": datetime.now(UTC), **point.metrics})
        self._values[point.step] = point.metrics.get("valid/loss", math.inf)

    def _flush(self) -> None:
        if self._pending:
            self._folder.append_history(self._pending, self._fence)
            self._pending = []

    def _finish(self, pack: Pack) -> None:
        self._folder.write_weights(safetensors.torch.save(pack.best_weights(0)), self._fence)
        result: dict[str, Any] = {
            "step": pack.step,
            "valid/loss": pack.best_value[0].item(),
            "best_step": pack.best_step[0],
            "parameters": SequenceModel.parameter_count(pack.task, self._config.cell),
            "baseline": pack.task.baseline,
            "data_sha256": {
                "validation": pack.task.evaluation_hash(
                    "validation", self._config.training.validation_size
                ),
                "test": pack.task.evaluation_hash("test", self._config.training.test_size),
            },
        }
        self._folder.write_result(result | pack.test()[0])


def _recorded_values(folder: TrialFolder) -> dict[int, float]:
    table = folder.history()
    if "valid/loss" not in table.column_names:
        return dict.fromkeys(table["step"].to_pylist(), math.inf)
    losses = [math.inf if one is None else one for one in table["valid/loss"].to_pylist()]
    return dict(zip(table["step"].to_pylist(), losses, strict=True))
