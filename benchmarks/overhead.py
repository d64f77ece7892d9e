"""What a search costs beside its training: Longhaul, and the same trials under plain Ray Tune.

    .venv/bin/python benchmarks/overhead.py

Writes overhead.md and overhead.json to benchmarks/results/. The variants take turns, each time in a
fresh process and a fresh folder, so that a machine that gets busier slows all of them. What MLflow
holds afterwards is counted, because losing reports would be quick. Linux only.
"""

import argparse
import json
import os
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from machine import machine_table
from overhead_variants import RUNGS
from process_times import run_sampled

ROUNDS = 2
PARALLEL = 2
VARIANTS = ("longhaul", "plain", "plain-fast")
FOLDER = Path(__file__).parent
PROGRAM = FOLDER / "overhead_variants.py"
NO_REPORTS = {"RAY_USAGE_STATS_ENABLED": "0", "MLFLOW_DISABLE_TELEMETRY": "true"}
CURVES = ("train/", "valid/", "test/", "recurrent/", "gradient/", "speed/")
"""Where the names of the trainers' metrics begin."""
SPACE = """\
task: {{name: copying, protocol: arjovsky-2016, delay: {delay}}}
cell: {{name: exprnn, hidden_size: {hidden_size}, learning_rate_ratio: {{loguniform: [0.03, 0.3]}}}}
training:
  steps: {steps}
  batch_size: 20
  optimizer: {{name: rmsprop, learning_rate: {{loguniform: [3.0e-4, 1.0e-2]}}}}
  evaluate_every: {every}
  validation_size: {validation_size}
  test_size: {test_size}
search: {{trials: {trials}, seed: 0, parallel: {parallel}, scheduler: full}}
"""


@dataclass(frozen=True)
class Workload:
    """Trials of one shape; each reports `RUNGS` times."""

    title: str
    trials: int
    delay: int
    hidden_size: int
    steps: int
    validation_size: int
    test_size: int

    def space(self) -> str:
        """The search space, in Longhaul's format."""
        return SPACE.format(**vars(self), every=self.steps // RUNGS, parallel=PARALLEL)


WORKLOADS = {
    "trivial": Workload("Trials that train almost nothing", 12, 5, 8, 6, 20, 20),
    "real": Workload("Trials of copying over 100 steps, 64 units", 6, 100, 64, 60, 500, 1000),
}
SMALL = {"small": Workload("Too small to mean anything", 3, 5, 8, 6, 20, 20)}


@dataclass(frozen=True)
class Run:
    """One search of one variant.

    Attributes:
        wall_s: from start to end of the program.
        search_s: from the start of the first trial to the end of the last one.
        driver_s, driver_search_s: processor time of the driver, in all and in `search_s`.
        tracking_s, ray_s, workers_s: processor time of Longhaul's tracking process, of Ray's own
            processes, and of those that train.
        runs, running: trials in MLflow, and how many of those it shows as still running.
        params: parameters of all trials in MLflow.
        curve_points, points: values of the trainers' metrics in MLflow, and of all metrics.
    """

    wall_s: float
    search_s: float
    driver_s: float
    driver_search_s: float
    tracking_s: float
    ray_s: float
    workers_s: float
    runs: int
    running: int
    params: int
    curve_points: int
    points: int

    @property
    def all_s(self) -> float:
        """Processor time of everything."""
        return self.driver_s + self.tracking_s + self.ray_s + self.workers_s


PER_TRIAL: dict[str, Callable[[Run], float]] = {
    "wall time": lambda run: run.search_s,
    "processor time of the driver": lambda run: run.driver_search_s,
}
IN_ALL: dict[str, Callable[[Run], float]] = {
    "wall time": lambda run: run.wall_s,
    "processor time of the driver": lambda run: run.driver_s,
    "of the tracking process": lambda run: run.tracking_s,
    "of the training processes": lambda run: run.workers_s,
    "of Ray's own processes": lambda run: run.ray_s,
    "processor time of all": lambda run: run.all_s,
}
DELIVERED = {
    "trials": "runs",
    "of them left RUNNING": "running",
    "parameters": "params",
    "values of the trainers' metrics": "curve_points",
    "values of all metrics": "points",
}


def measure(variant: str, workload: Workload) -> Run:
    """One search in a fresh process and folder."""
    with tempfile.TemporaryDirectory(prefix="overhead-") as name:
        folder = Path(name)
        space = folder / "space.yaml"
        space.write_text(workload.space(), encoding="utf-8")
        command = [sys.executable, "-P", str(PROGRAM), variant, str(space)]
        wall_s, used = run_sampled(command, folder, folder / "log", NO_REPORTS, role)
        figures = json.loads((folder / "driver.json").read_text(encoding="utf-8"))
        figures |= {f"{one}_s": used.get(one, 0.0) for one in ("tracking", "ray", "workers")}
        return Run(wall_s=wall_s, **figures, **delivered(folder / "mlflow.db"))


def role(command: list[str]) -> str:
    """Which part of a search a process is, from its command line."""
    if str(PROGRAM) in command:
        return "driver"
    if "longhaul.tracking" in command:
        return "tracking"
    # A worker that has work calls itself ray::Class.method.
    script = command[1] if len(command) > 1 else ""
    is_worker = command[0].startswith("ray::") or script.endswith("default_worker.py")
    return "workers" if is_worker else "ray"


def delivered(database: Path) -> dict[str, int]:
    """What MLflow holds of the trials; Longhaul's run for the search itself is left out."""
    trial = "select run_uuid from tags where key in ('longhaul.trial', 'trial_name')"
    curve = " or ".join(f"key like '{one}%'" for one in CURVES)
    queries = {
        "runs": f"runs where run_uuid in ({trial})",
        "running": f"runs where status = 'RUNNING' and run_uuid in ({trial})",
        "params": f"params where run_uuid in ({trial})",
        "points": f"metrics where run_uuid in ({trial})",
        "curve_points": f"metrics where ({curve}) and run_uuid in ({trial})",
    }
    connection = sqlite3.connect(database)
    try:
        return {
            name: connection.execute(f"select count(*) from {query}").fetchone()[0]
            for name, query in queries.items()
        }
    finally:
        connection.close()


def compare(workload: Workload, rounds: int) -> dict[str, list[Run]]:
    """`rounds` runs of each variant, in turns, each round beginning with another one."""
    runs: dict[str, list[Run]] = {variant: [] for variant in VARIANTS}
    for number in range(rounds):
        first = number % len(VARIANTS)
        for variant in VARIANTS[first:] + VARIANTS[:first]:
            runs[variant].append(measure(variant, workload))
            print(f"round {number + 1}, {workload.title}: {variant}", file=sys.stderr, flush=True)
    return runs


def section(workload: Workload, runs: dict[str, list[Run]]) -> str:
    """The results of one workload as Markdown."""
    counted = [
        [label, *(_counts(getattr(run, name) for run in runs[one]) for one in VARIANTS)]
        for label, name in DELIVERED.items()
    ]
    ratios = [f"{VARIANTS[0]} / {other}" for other in VARIANTS[1:]]
    return "\n".join(
        [
            f"## {workload.title}",
            "",
            f"{workload.trials} trials of {workload.steps} training steps, {PARALLEL} at once, "
            f"{RUNGS} reports each. Medians and ranges; ratios are medians over the rounds.",
            "",
            _table(["search, ms per trial", *VARIANTS, *ratios], _rows(PER_TRIAL, runs, workload)),
            _table(["program, s", *VARIANTS, *ratios], _rows(IN_ALL, runs)),
            _table(["afterwards in MLflow", *VARIANTS], counted),
        ]
    )


def _rows(
    quantities: dict[str, Callable[[Run], float]],
    runs: dict[str, list[Run]],
    per_trial_of: Workload | None = None,
) -> list[list[str]]:
    rows = []
    for label, of in quantities.items():
        scale, digits = (1e3 / per_trial_of.trials, 0) if per_trial_of else (1, 1)
        found = [[of(run) * scale for run in runs[one]] for one in VARIANTS]
        row = [label]
        for values in found:
            low, high = f"{min(values):,.{digits}f}", f"{max(values):,.{digits}f}"
            row.append(f"{median(values):,.{digits}f} ({low} to {high})" if max(values) else "none")
        for other in found[1:]:
            pairs = [a / b for a, b in zip(found[0], other, strict=True) if b]
            row.append(f"{median(pairs):.2f}" if pairs else "")
        rows.append(row)
    return rows


def _counts(found: Iterable[int]) -> str:
    return " or ".join(f"{count:,}" for count in sorted(set(found)))


def _table(head: list[str], rows: list[list[str]]) -> str:
    rule = ["---"] + ["--:"] * (len(head) - 1)
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, rule, *rows]) + "\n"


PREFACE = """\
# What a search costs beside its training

Written by `.venv/bin/python benchmarks/overhead.py`; {rounds} rounds, in each of which the variants
take turns, every time in a fresh process with a fresh folder and MLflow database (SQLite).

- **longhaul**: `longhaul search`, as it comes, but for one thing: without early stopping it would
  report once a trial, at its end, and is made to report {rungs} times. It keeps a ledger that
  survives the loss of any process, and checkpoints, weights and plots; the others keep none.
- **plain**: Ray Tune with OptunaSearch and MLflowLoggerCallback as their documentation shows them:
  a function that calls `tune.report`, in a new process for each trial, and Tune's loggers.
- **plain-fast**: the same made quick by hand: a class trainable in reused processes, no output, no
  loggers but MLflow's, and only the searched parameters in Tune's configuration, hence in MLflow.

All train with `longhaul_trainers`, one thread a trial, from the same seeds and on the same data;
learning rates are each sampler's own draws (TPE, seed 0), which change neither steps nor time.
"Search" is from the start of the first trial to the end of the last one, "program" from typing the
command to its end: importing, starting Ray, making the database and delivering the rest to MLflow.
The driver's processor time is exact; those of other processes are sampled four times a second.

One-minute load of the machine before the start: {load:.2f}.
"""


def main() -> None:
    """Measures, writes the page and the figures, and prints the page."""
    parser = argparse.ArgumentParser(description="Compares Longhaul with plain Ray Tune.")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--small", action="store_true", help="see whether it works at all")
    parser.add_argument("--results", type=Path, default=FOLDER / "results", help="folder")
    options = parser.parse_args()
    parts = [PREFACE.format(rounds=options.rounds, rungs=RUNGS, load=os.getloadavg()[0])]
    figures = {}
    for name, workload in (SMALL if options.small else WORKLOADS).items():
        runs = compare(workload, options.rounds)
        figures[name] = {one: [asdict(run) for run in found] for one, found in runs.items()}
        parts.append(section(workload, runs))
    parts.append(machine_table(["ray", "optuna", "mlflow", "torch"]) + "\n")
    options.results.mkdir(parents=True, exist_ok=True)
    text = json.dumps(figures, indent=1) + "\n"
    (options.results / "overhead.json").write_text(text, encoding="utf-8")
    (options.results / "overhead.md").write_text("\n".join(parts), encoding="utf-8")
    print("\n".join(parts), end="")


if __name__ == "__main__":
    main()
