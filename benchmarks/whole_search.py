"""A whole search: `longhaul search` against the same search over a plain loop.

    .venv/bin/python benchmarks/whole_search.py [--trials 32] [--steps 270] [--delay 50]
        [--hidden 64] [--batch 20] [--variants slots-4,slots-auto]
    .venv/bin/python benchmarks/whole_search.py --trials 64 --steps 2700 --delay 200
        --variants slots-auto,slots-4,plain

Writes whole_search.md and whole_search.json to benchmarks/results/. The first command takes about
six minutes on two cores, most of them the plain search's; the second half an hour or
more.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from machine import machine_table

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results"
PLAIN = FOLDER / "plain_search.py"
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "MLFLOW_DISABLE_TELEMETRY": "true"}
FACTOR = 3
SPACE = """\
task: {{name: copying, protocol: arjovsky-2016, delay: {delay}}}
cell: {{name: exprnn, hidden_size: {hidden}}}
training:
  steps: {steps}
  batch_size: {batch}
  clip_norm: null
  optimizer: {{name: rmsprop, learning_rate: {{loguniform: [1.0e-4, 3.0e-3]}}}}
  evaluate_every: {every}
  validation_size: 500
  test_size: 500
search:
  trials: {trials}
  seed: 0
  parallel: {parallel}
  scheduler: {{name: asha, grace_steps: {grace}, reduction_factor: 3}}
resources: {{slots: {slots}}}
"""

NOTES = """\
- **slots-P**: `longhaul search`, as a user types it, with `resources: {slots: P}`: one trial a
  core, each in a process of its own (1, auto), or packs of P in one process a core.
- **plain**: Ray Tune with OptunaSearch, ASHA and MLflowLoggerCallback as their documentations show
  them, a process for each trial, over `benchmarks/plain_loop.py`; the same configurations as the
  first search, and stopped where that stopped.

Wall time is from typing the command to its end: importing, starting Ray, and, for Longhaul,
delivering all to MLflow. Training alone is what the same trials take up to the same steps,
evaluations included, in bare processes without Ray, ledger and MLflow; overhead is the rest. ASHA
stops trials as reports come in, so that searches differ in steps; they are compared by wall time a
step."""


@dataclass(frozen=True)
class Finding:
    """One search.

    Attributes:
        wall_s: from typing the command to its end.
        search_s: from the start of the first trial to the end of the last; 0 where not told.
        alone_s: what its trainings take by themselves: the same trials up to the same steps, with
            their evaluations, as many at once, without Ray, ledger and MLflow; 0 where not run.
        steps: training steps of all trials.
        trials: how many there were.
    """

    wall_s: float
    search_s: float
    alone_s: float
    steps: int
    trials: int

    @property
    def step_s(self) -> float:
        """Wall time a training step."""
        return self.wall_s / self.steps


def space(chosen: argparse.Namespace, slots: str, parallel: int) -> str:
    """The search space, in Longhaul's format."""
    grace = chosen.steps // FACTOR**2
    numbers = {name: getattr(chosen, name) for name in ("delay", "hidden", "batch", "trials")}
    return SPACE.format(
        **numbers,
        steps=chosen.steps,
        every=grace,
        grace=grace,
        slots=slots,
        parallel=parallel,
    )


def run(command: Sequence[str], folder: Path) -> float:
    """Runs a program to its end and gives its wall time.

    Raises:
        RuntimeError: it failed; with the end of its output.
    """
    began = time.perf_counter()
    done = subprocess.run(
        command, cwd=folder, env=os.environ | QUIET, capture_output=True, text=True
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {(done.stdout + done.stderr)[-3000:]}")
    return time.perf_counter() - began


def longhaul(
    chosen: argparse.Namespace, slots: str, cores: int
) -> tuple[Finding, list[dict[str, Any]]]:
    """`longhaul search`; what it took, and its trials with the steps that they were trained."""
    from longhaul.ledger import EventKind, Ledger

    parallel = cores if slots in ("1", "auto") else cores * int(slots)
    with tempfile.TemporaryDirectory(prefix="whole-search-") as name:
        folder = Path(name)
        (folder / "space.yaml").write_text(space(chosen, slots, parallel), "utf-8")
        options = ["--name", "s", "--storage", "runs", "--tracking-uri", "sqlite:///mlflow.db"]
        command = [sys.executable, "-P", "-m", "longhaul", "search", "space.yaml", *options]
        wall_s = run(command, folder)
        ledger = Ledger.open(folder / "runs", "s")
        times = [
            event.time.timestamp()
            for event in ledger.events()
            if event.trial is not None and event.kind is not EventKind.SUGGESTED
        ]
        trials: list[dict[str, Any]] = [
            {"config": one.config, "steps": one.step} for one in ledger.record().trials.values()
        ]
    alone_s = alone(trials, cores)
    steps = sum(one["steps"] for one in trials)
    return Finding(wall_s, max(times) - min(times), alone_s, steps, len(trials)), trials


def alone(trials: list[dict[str, Any]], cores: int) -> float:
    """How long the trainings take by themselves, in as many processes as there are cores."""
    with ProcessPoolExecutor(cores, get_context("spawn")) as pool:
        list(pool.map(_warm, range(2 * cores)))  # imported, and the scans are compiled
        began = time.perf_counter()
        for _ in pool.map(_train, trials):
            pass
        return time.perf_counter() - began


def _warm(_: int) -> None:
    import torch

    import longhaul_trainers.training.pack  # noqa: F401

    torch.set_num_threads(1)
    time.sleep(0.5)


_measures: dict[str, Any] = {}


def _train(trial: dict[str, Any]) -> None:
    import torch

    from longhaul_trainers.training.evaluation import Measure
    from longhaul_trainers.training.pack import Pack
    from longhaul_trainers.training.settings import TrialConfig

    torch.set_num_threads(1)
    config = TrialConfig.parse(trial["config"])
    # the fixed sets are drawn once a process
    measure = _measures.setdefault("one", Measure(config, torch.device("cpu")))
    pack = Pack([config], measure=measure)
    for _ in pack.train(trial["steps"]):
        pass
    if trial["steps"] == pack.steps:
        pack.test()


def plain(
    chosen: argparse.Namespace, trials: list[dict[str, Any]], cores: int, rungs: list[int]
) -> Finding:
    """The same trials, as the documentations of Ray Tune, Optuna and MLflow show it."""
    first = trials[0]["config"]
    given = {
        "trials": [
            {
                "learning_rate": one["config"]["training"]["optimizer"]["learning_rate"],
                "steps": one["steps"],
            }
            for one in trials
        ],
        "parallel": cores,
        "reduction_factor": FACTOR,
        "rungs": rungs,
        "seed": 1,
        "task": first["task"],
        "hidden": chosen.hidden,
        "batch": chosen.batch,
        "validation_size": 500,
        "evaluate_every": rungs[0],
    }
    with tempfile.TemporaryDirectory(prefix="whole-search-") as name:
        folder = Path(name)
        (folder / "trials.json").write_text(json.dumps(given), "utf-8")
        wall_s = run([sys.executable, "-P", str(PLAIN), "trials.json"], folder)
        told = json.loads((folder / "plain.json").read_text("utf-8"))
    return Finding(wall_s, 0.0, 0.0, told["steps"], told["trials"])


def page(found: dict[str, Finding], chosen: argparse.Namespace, cores: int, load: float) -> str:
    """The result page."""
    rows = []
    other = found.get("plain")
    for name, one in found.items():
        row = [name, f"{one.trials}", f"{one.steps:,}", f"{one.wall_s:.1f}"]
        if one.search_s:
            row += [f"{one.search_s:.1f}", f"{one.alone_s:.1f}"]
            row += [f"{1 - one.alone_s / one.search_s:.0%}", f"{1 - one.alone_s / one.wall_s:.0%}"]
            per_trial = 1000 * (one.search_s - one.alone_s) * cores / one.trials
            row += [f"{per_trial:.0f}"]
        else:
            row += ["-"] * 5
        rows.append([*row, f"{other.step_s / one.step_s:.1f}×" if other else "-"])
    head = ["search", "trials", "steps", "wall, s", "trials running, s", "their training alone, s"]
    head += ["overhead while running", "overhead in all", "ms of a core per trial"]
    head += ["a step: plain / this"]
    lines = [head, ["---"] + ["--:"] * (len(head) - 1), *rows]
    return (
        "\n\n".join(
            [
                "# A whole search",
                "`benchmarks/whole_search.py`: exprnn on copying, delay "
                f"{chosen.delay}, {chosen.hidden} units, batch {chosen.batch}, {chosen.trials} "
                f"trials of at most {chosen.steps} steps, ASHA that keeps one in {FACTOR}, on "
                f"{cores} cores. One-minute load before the start: {load:.2f}.",
                NOTES,
                "\n".join("| " + " | ".join(row) + " |" for row in lines),
                machine_table(["ray", "optuna", "mlflow", "torch"]),
            ]
        )
        + "\n"
    )


def main() -> None:
    """Measures, and writes the page and the figures."""
    from longhaul.spec.search_settings import ASHASettings

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--trials", type=int, default=32)
    parser.add_argument("--steps", type=int, default=270)
    parser.add_argument("--delay", type=int, default=50)
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--batch", type=int, default=20)
    parser.add_argument("--variants", default="slots-1,slots-4,plain")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the results")
    chosen = parser.parse_args()
    cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    rungs = ASHASettings(grace_steps=chosen.steps // FACTOR**2, reduction_factor=FACTOR).rungs(
        chosen.steps
    )
    found: dict[str, Finding] = {}
    trials: list[dict[str, Any]] = []
    for name in chosen.variants.split(","):
        if name == "plain":
            found[name] = plain(chosen, trials, cores, rungs)
        else:
            found[name], own = longhaul(chosen, name.removeprefix("slots-"), cores)
            trials = trials or own
        print(f"{name}: {found[name]}", file=sys.stderr, flush=True)
    chosen.output.mkdir(parents=True, exist_ok=True)
    figures = {name: asdict(one) for name, one in found.items()}
    (chosen.output / "whole_search.json").write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    text = page(found, chosen, cores, load)
    (chosen.output / "whole_search.md").write_text(text, "utf-8")
    print(text, end="")


if __name__ == "__main__":
    main()
