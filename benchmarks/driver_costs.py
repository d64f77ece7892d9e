"""What the driver does for one trial in a search that has many finished ones already.

Used by cost_curves.py. Everything here is the search's own code on a ledger on disk; only Ray and
the training are left out. Trials are made up, and written through the ledger's own writer.
"""

import gc
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from longhaul.ledger import Ledger
    from longhaul.search.run import SearchRun
    from longhaul.search.scheduler import LedgerASHA
    from longhaul.spec.search_spec import SearchSpec

SPACE = """\
task: {name: copying, delay: 50}
cell: {name: exprnn, hidden_size: 64, learning_rate_ratio: {loguniform: [0.01, 1]}}
training:
  steps: 900
  batch_size: 20
  optimizer: {name: rmsprop, learning_rate: {loguniform: [1.0e-4, 1.0e-2]}}
search: {trials: 1000000, seed: 0, sampler: %s, scheduler: {name: asha, grace_steps: 100}}
"""
RUNGS = (100, 300, 900)
BATCH = 250
"""Made-up trials that are written at once."""


def driver_costs(finished: int, trials: int, *, tpe: bool) -> dict[str, float]:
    """The medians of `driver_times`."""
    times = driver_times(finished, trials, tpe=tpe)
    return {name: statistics.median(taken) for name, taken in times.items()}


def driver_times(finished: int, trials: int, *, tpe: bool) -> dict[str, list[float]]:
    """All times in milliseconds of what the driver does; that of a resume, too.

    Args:
        finished: trials that are over before.
        trials: how many are handed out, reported twice and ended, one after the other.
        tpe: whether TPE suggests, instead of the random sampler.
    """
    from longhaul.ledger import Ledger
    from longhaul.search.run import SearchRun
    from longhaul.search.scheduler import LedgerASHA
    from longhaul.search.view import ProgressMeter
    from longhaul.spec.search_spec import SearchSpec

    spec = SearchSpec.from_text(SPACE % ("tpe" if tpe else "random"), "space.yaml", name="s")
    with tempfile.TemporaryDirectory(prefix="cost-curves-") as folder:
        ledger = Ledger.create(Path(folder), "s", spec.to_yaml(), {})
        _make_up(ledger, spec, finished)
        ledger = Ledger.open(Path(folder), "s")
        with ledger.acquire() as writer:
            gc.collect()
            began = time.perf_counter()
            run = SearchRun(spec, ledger, writer)
            scheduler = LedgerASHA(run, RUNGS, 3)
            scheduler.refill(run.reports())
            resume = 1000 * (time.perf_counter() - began)
            times = _play(run, scheduler, trials, ledger, ProgressMeter())
    return times | {"resume": [resume]}


def _play(
    run: "SearchRun", scheduler: "LedgerASHA", trials: int, ledger: "Ledger", meter: Any
) -> dict[str, list[float]]:
    names = ("suggestion", "start", "report", "end", "live view", "read for tracking")
    times: dict[str, list[float]] = {name: [] for name in names}

    def timed(name: str, call: Callable[[], object]) -> None:
        began = time.perf_counter()
        call()
        times[name].append(1000 * (time.perf_counter() - began))

    reader = _follower(ledger)
    reader()
    for number in range(trials):
        tune_id = f"tune-{number}"
        trial = SimpleNamespace(trial_id=tune_id)
        scheduler.on_trial_add(None, trial)
        timed("suggestion", lambda name=tune_id: run.next_trial(name))  # type: ignore[misc]
        timed("start", lambda name=tune_id: run.started(name, "node"))  # type: ignore[misc]
        # better than all before, so that it goes on
        for step, value in ((100, 1e-3 / (number + 1)), (300, 1e-4 / (number + 1))):
            told = {"step": step, "value": value, "diverged": None, "training_iteration": 1}
            timed("report", lambda t=trial, r=told: scheduler.on_trial_result(None, t, r))  # type: ignore[misc]
        last = {"step": 900, "value": 1e-5 / (number + 1), "diverged": None}
        timed("end", lambda name=tune_id, r=last: run.ended(name, r, error=False))  # type: ignore[misc]
        scheduler.on_trial_complete(None, trial, last)
        timed("live view", lambda: meter.measure(run.record, run.trials).text())
        timed("read for tracking", reader)
    return times


def _follower(ledger: "Ledger") -> Callable[[], None]:
    """What the tracking process does in a round, short of MLflow."""
    from longhaul.tracking.replay import Replay

    other = type(ledger)(ledger.storage, ledger.name)
    replay = Replay(other, lambda: None, "sqlite://")  # type: ignore[arg-type,return-value]

    def read() -> None:
        replay.refresh(curves=True)
        replay.lag(None)

    return read


def _make_up(ledger: "Ledger", spec: "SearchSpec", finished: int) -> None:
    from longhaul.ledger import EventKind

    drawn = random.Random(0)
    distributions = {
        "cell.learning_rate_ratio": _loguniform(0.01, 1),
        "training.optimizer.learning_rate": _loguniform(1e-4, 1e-2),
    }
    with ledger.acquire() as writer:
        writer.append(EventKind.OPENED, trials=spec.search.trials, resumed=False)
        for first in range(0, finished, BATCH):
            numbers = range(first, min(first + BATCH, finished))
            drafts = [
                event
                for number in numbers
                for event in _life(number, distributions, drawn.random())
            ]
            writer.append_all(drafts)


def _life(number: int, distributions: dict[str, str], luck: float) -> list[Any]:
    """The events of one trial; one in three goes on at each rung."""
    from longhaul.ledger import EventKind
    from longhaul.ledger.writer import Draft

    params = {
        "cell.learning_rate_ratio": 10 ** (-2 * ((number * 0.618034) % 1)),
        "training.optimizer.learning_rate": 10 ** (-2 - 2 * ((number * 0.754878) % 1)),
    }
    config = {
        "task": {"name": "copying", "delay": 50},
        "cell": {
            "name": "exprnn",
            "hidden_size": 64,
            "learning_rate_ratio": params["cell.learning_rate_ratio"],
        },
        "training": {
            "steps": 900,
            "batch_size": 20,
            "optimizer": {
                "name": "rmsprop",
                "learning_rate": params["training.optimizer.learning_rate"],
            },
        },
        "seed": number,
    }
    reports = 1 + (number % 3 == 0) + (number % 9 == 0)
    told = [
        Draft(
            EventKind.REPORTED,
            number,
            {
                "step": RUNGS[i],
                "value": 1 + luck - i / 10,
                "decision": "done" if i == 2 else "stop" if i == reports - 1 else "continue",
            },
        )
        for i in range(reports)
    ]
    last = {"step": RUNGS[reports - 1], "value": 1 + luck - (reports - 1) / 10}
    kind = EventKind.FINISHED if reports == len(RUNGS) else EventKind.STOPPED
    suggested = {"params": params, "distributions": distributions, "asks": 1, "attributes": {}}
    return [
        Draft(EventKind.SUGGESTED, number, suggested | {"config": config, "parameters": 2889}),
        Draft(EventKind.STARTED, number, {"attempt": 1, "from_step": 0, "node": "node"}),
        *told,
        Draft(kind, number, last),
    ]


def _loguniform(low: float, high: float) -> str:
    from optuna.distributions import FloatDistribution, distribution_to_json

    return distribution_to_json(FloatDistribution(low, high, log=True))
