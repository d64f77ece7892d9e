"""A search with the product's own driver, ledger, trials and tracking; only Ray and arithmetic not.

    python simulated_search.py STORAGE TRACKING_URI TRIALS PARALLEL REPORTS_PER_S

Takes up the search ``soak`` in a storage, creating it where there is none, and goes on to its end.
Trials report in random order and in bursts, so many times a second on average. What was
acknowledged to them is appended to ``truth.jsonl`` beside the storage. Exits with 0 when the search
is complete, with 1 when it was taken over or broke off.
"""

import json
import math
import os
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from longhaul.errors import LonghaulError
from longhaul.ledger import Ledger, StorageFullError, UnknownSearchError
from longhaul.search.run import SearchRun
from longhaul.search.scheduler import build_scheduler
from longhaul.search.training import TrialOutcome
from longhaul.search.trial_run import TrialRun
from longhaul.spec.search_spec import SearchSpec
from longhaul.tracking import TrackingProcess
from longhaul_trainers.training.point import Divergence, Point

NAME = "soak"
BURST = 20
"""Reports without a pause, on average."""
SPACE = """
task: {{name: copying, delay: 5}}
cell: {{name: lstm, hidden_size: 8, forget_bias: {{uniform: [0, 3]}}}}
training:
  steps: 9
  evaluate_every: 1
  optimizer: {{name: adam, learning_rate: {{loguniform: [1e-4, 1e-1]}}}}
search:
  {{trials: {trials}, seed: 3, retries: 1, max_failed_trials: 1000000, sampler: random,
    scheduler: {{name: asha, grace_steps: 1}}}}
"""


def loss(config: dict[str, Any], step: int) -> float:
    """What a trial measures, from its configuration alone."""
    rate = math.log10(config["training"]["optimizer"]["learning_rate"])
    return (abs(rate + 2.5) + 0.1) * (1 + 3 / step)


def diverges(number: int) -> bool:
    """Whether a trial diverges at its second step."""
    return number % 11 == 5


class Simulated:
    """See `longhaul.search.training.Training`."""

    def __init__(self, number: int, config: dict[str, Any], checkpoint: Any, luck: random.Random):
        self._number, self._config, self._luck = number, config, luck
        self._step = int(checkpoint["step"]) if checkpoint else 0
        self.divergence: Divergence | None = None

    def train(self, until: int, checkpoint_every_s: float) -> Iterator[tuple[Point, Any]]:
        """See there; one try in a hundred fails."""
        while self._step < until:
            if self._luck.random() < 0.01:
                raise RuntimeError("a trial that breaks now and then")
            self._step += 1
            value = loss(self._config, self._step)
            if diverges(self._number) and self._step == 2:
                self.divergence = Divergence(self._step, "training loss is nan")
                yield Point(self._step, {"valid/loss": math.nan, "train/loss": math.nan}), None
                return
            checkpoint = {"step": b"%d" % self._step} if self._step == until else None
            yield Point(self._step, {"valid/loss": value, "train/loss": value * 1.1}), checkpoint

    def outcome(self) -> TrialOutcome:
        """See there."""
        result = {"step": self._step, "valid/loss": loss(self._config, self._step)}
        return TrialOutcome(b"weights", result | {"best_step": self._step, "baseline": 0.2})


class Loop:
    """What Tune does with a search, one random trial after the other."""

    def __init__(self, run: SearchRun, fence: int, parallel: int, truth: Path) -> None:
        self._run, self._fence, self._parallel = run, fence, parallel
        self._truth = os.open(truth, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._luck = random.Random(os.getpid())
        self._scheduler = build_scheduler(run.spec, run)
        self._scheduler.refill(run.reports())
        self._live: dict[str, tuple[Any, TrialRun | None, int]] = {}
        self._begun = 0

    def go(self, reports_per_s: float, tick: Any) -> None:
        """To the end."""
        while self._fill() or self._live:
            self._advance(self._luck.choice(sorted(self._live)))
            if self._luck.random() < 1 / BURST:
                time.sleep(self._luck.expovariate(reports_per_s / BURST))
            tick()

    def _fill(self) -> bool:
        while len(self._live) < self._parallel:
            tune_id = f"t{self._begun}"
            handed = self._run.next_trial(tune_id)
            if handed is None:
                return False
            self._begun += 1
            self._scheduler.on_trial_add(None, SimpleNamespace(trial_id=tune_id))
            self._live[tune_id] = (handed, None, 0)
        return True

    def _advance(self, tune_id: str) -> None:
        handed, trial_run, failures = self._live[tune_id]
        trial = SimpleNamespace(trial_id=tune_id, error_file=None)
        try:
            trial_run = trial_run or self._start(tune_id, handed)
            report = trial_run.advance()
        except StorageFullError:
            raise
        except RuntimeError:
            self._live[tune_id] = (handed, None, failures + 1)
            self._scheduler.on_trial_error(None, trial)
            if failures >= self._run.spec.search.retries:
                self._end(tune_id, None)
            return
        self._live[tune_id] = (handed, trial_run, failures)
        number = handed["number"]
        self._note(number, report.step)
        result = {"step": report.step, "value": report.value, "diverged": report.diverged}
        if not report.done and self._scheduler.on_trial_result(None, trial, result) == "CONTINUE":
            return
        self._scheduler.on_trial_complete(None, trial, result)
        self._end(tune_id, result)

    def _start(self, tune_id: str, handed: dict[str, Any]) -> TrialRun:
        number, run = handed["number"], self._run
        run.started(tune_id, "here")
        heard = max((s for s, _ in run.record.trials[number].reports), default=0)
        return TrialRun(
            run.ledger.trial(number),
            lambda checkpoint: Simulated(number, handed["config"], checkpoint, self._luck),
            run.spec.rungs(),
            heard=heard,
            fence=self._fence,
            checkpoint_every_s=60.0,
        )

    def _end(self, tune_id: str, result: Any) -> None:
        del self._live[tune_id]
        self._run.ended(tune_id, result, error=result is None)

    def _note(self, number: int, step: int) -> None:
        line = json.dumps({"trial": number, "step": step}) + "\n"
        os.write(self._truth, line.encode())


def main() -> int:
    """Until the search is complete."""
    storage, tracking_uri, trials, parallel, reports_per_s = sys.argv[1:]
    spec = SearchSpec.from_text(SPACE.format(trials=trials), "space.yaml", name=NAME)
    try:
        ledger = Ledger.open(storage, NAME)
    except UnknownSearchError:
        ledger = Ledger.create(storage, NAME, spec.to_yaml(), {})
    try:
        with ledger.acquire(patience_s=5.0) as writer:
            run = SearchRun(spec, ledger, writer)
            if not run.remaining:
                return 0
            run.opened()
            run.settle()
            tracking = TrackingProcess(storage, NAME, tracking_uri)
            tracking.start()
            truth = Path(storage).with_name("truth.jsonl")
            loop = Loop(run, writer.fence, int(parallel), truth)
            loop.go(float(reports_per_s), tracking.keep_alive)
            run.close()
            tracking.drain(timeout_s=20)
    except LonghaulError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
