"""How much a driver, its ledger and MLflow take in, against plain Ray Tune where it does the same.

    .venv/bin/python benchmarks/load.py [--parts search,tracking,driver] [--trials 120]
        [--finished 10,10000] [--results FOLDER]

Writes cluster.md and cluster.json to benchmarks/results/. One run of each: figures to plan with,
not to choose by. PostgreSQL is left out where there is none.
"""

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import chdir, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from driver_costs import driver_times
from machine import machine_table
from overhead import FOLDER, NO_REPORTS, PARALLEL, PROGRAM, VARIANTS, WORKLOADS, measure
from overhead_variants import RUNGS

if TYPE_CHECKING:
    from longhaul.ledger import Ledger

RESULTS = FOLDER / "results"
PLAIN_SHARE = 0.1
"""So many of the trials for the variant that takes seconds for each."""
TRACKED = 40
"""Trials whose records are delivered to MLflow."""
DRIVEN = 100
"""Trials over which the driver's times are taken."""
Figures = dict[str, dict[str, float]]
"""Values by quantity, then by column."""


def search_figures(trials: int) -> Figures:
    """Trials and reports a second of whole searches, from the first trial's start on."""
    found: Figures = {}
    for variant in VARIANTS:
        count = round(trials * PLAIN_SHARE) if variant == "plain" else trials
        run = measure(variant, replace(WORKLOADS["trivial"], trials=count))
        told = {
            "trials": count,
            "trials started and finished, 1/s": count / run.search_s,
            "reports, 1/s": count * RUNGS / run.search_s,
            "driver's processor time per report, ms": 1e3 * run.driver_search_s / (count * RUNGS),
        }
        for name, value in told.items():
            found.setdefault(name, {})[variant] = value
        print(f"{variant}: {told}", file=sys.stderr, flush=True)
    return found


def tracking_figures() -> Figures:
    """Reports a second into MLflow's databases, of one recorded search."""
    found: Figures = {}
    with tempfile.TemporaryDirectory(prefix="load-") as name, databases(Path(name)) as places:
        ledger = _recorded(Path(name))
        for place, uri in places.items():
            for who, deliver in (("longhaul", _replay), ("plain", _call_back)):
                reports, points, seconds = deliver(ledger, uri)
                told = {"reports, 1/s": reports / seconds, "values, 1/s": points / seconds}
                for quantity, value in told.items():
                    found.setdefault(quantity, {})[f"{who}, {place}"] = value
                print(f"{who}, {place}: {told}", file=sys.stderr, flush=True)
    return found


@contextmanager
def databases(folder: Path) -> Iterator[dict[str, str]]:
    """Addresses of empty databases by kind: SQLite, and PostgreSQL where it is installed."""
    places = {"SQLite": f"sqlite:///{folder}/mlflow.db"}
    servers = _servers()
    if not servers.BINARIES:
        yield places
        return
    # There MLflow keeps artifacts in the folder that it runs in.
    with chdir(folder), servers.postgres(folder / "postgres") as told:
        from urllib.parse import quote

        user = f"{told['PGUSER']}:{quote(servers.PASSWORD, safe='')}"
        where = f"{told['PGHOST']}:{told['PGPORT']}/{told['PGDATABASE']}"
        os.environ["LONGHAUL_ARTIFACTS"] = str(folder)
        yield places | {"PostgreSQL": f"postgresql+psycopg2://{user}@{where}"}


def _servers() -> Any:
    path = FOLDER.parent / "tests/infra/servers.py"
    spec = importlib.util.spec_from_file_location("servers", path)
    if spec is None or spec.loader is None:
        raise RuntimeError(f"{path} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _recorded(folder: Path) -> "Ledger":
    """A finished search of trials that train almost nothing."""
    from longhaul.ledger import Ledger

    space = folder / "space.yaml"
    space.write_text(replace(WORKLOADS["trivial"], trials=TRACKED).space(), encoding="utf-8")
    with (folder / "log").open("wb") as log:
        command = [sys.executable, "-P", str(PROGRAM), "longhaul", str(space)]
        subprocess.run(
            command, cwd=folder, env=os.environ | NO_REPORTS, stdout=log, stderr=log, check=True
        )
    (folder / "mlflow.db").unlink()
    (name,) = Ledger.names(folder / "runs")
    return Ledger.open(folder / "runs", name)


def _replay(ledger: "Ledger", uri: str) -> tuple[int, int, float]:
    """What ``longhaul sync`` does, but for making the database's tables."""
    from longhaul.tracking.connection import connect
    from longhaul.tracking.follow import deliver_once
    from longhaul.tracking.replay import Replay

    connect(uri)
    replay = Replay(ledger, lambda: connect(uri), uri)
    began = time.perf_counter()
    lag = deliver_once(ledger, replay, 60.0, lambda lag, counts: None)
    seconds = time.perf_counter() - began
    if not lag.delivered:
        raise RuntimeError(f"not delivered: {lag.error}")
    return TRACKED * RUNGS, replay.counts.points, seconds


def _call_back(ledger: "Ledger", uri: str) -> tuple[int, int, float]:
    """The same trials as Ray Tune tells them to MLflowLoggerCallback."""
    from ray.air.integrations.mlflow import MLflowLoggerCallback

    callback = MLflowLoggerCallback(uri, experiment_name=f"plain-{time.time_ns()}")
    callback.setup()
    told = [
        (_Trial(trial.number, dict(trial.config)), ledger.trial(trial.number).history().to_pylist())
        for trial in ledger.record().trials.values()
    ]
    points = 0
    began = time.perf_counter()
    for trial, _ in told:
        callback.log_trial_start(trial)  # type: ignore[arg-type]
    for at in range(RUNGS):
        for trial, history in told:
            row = {key: one for key, one in history[at].items() if isinstance(one, float)}
            result = row | {"training_iteration": at + 1}
            points += len(result)
            callback.log_trial_result(at, trial, result)  # type: ignore[arg-type]
    for trial, _ in told:
        callback.log_trial_end(trial)  # type: ignore[arg-type]
    return TRACKED * RUNGS, points, time.perf_counter() - began


@dataclass(eq=False)
class _Trial:
    """As much of Tune's trial as the callback looks at."""

    number: int
    config: Mapping[str, Any]

    def __str__(self) -> str:
        return f"trial_{self.number}"


def driver_figures(finished: list[int]) -> Figures:
    """Times of the driver for one report, and for a resume, by number of finished trials."""
    found: Figures = {}
    for count in finished:
        times = driver_times(count, DRIVEN, tpe=False)
        percentiles = statistics.quantiles(times["report"], n=100)
        told = {
            "report, median, ms": statistics.median(times["report"]),
            "report, 99th percentile, ms": percentiles[98],
            "reports of one driver at most, 1/s": 1e3 / statistics.mean(times["report"]),
            "trial handed out, started and ended, ms": sum(
                statistics.median(times[one]) for one in ("suggestion", "start", "end")
            ),
            "resume in all, s": times["resume"][0] / 1e3,
        }
        for name, value in told.items():
            found.setdefault(name, {})[f"{count:,} finished"] = value
        print(f"{count} finished: {told}", file=sys.stderr, flush=True)
    return found


PARTS: dict[str, tuple[str, str]] = {
    "search": (
        "Whole searches",
        f"Trials that train almost nothing, {PARALLEL} at once, {RUNGS} reports each, on one "
        "machine; from the start of the first trial to the end of the last one. What the columns "
        "are: [overhead.md](overhead.md). `plain` starts a process for each trial, the others use "
        "them again.",
    ),
    "tracking": (
        "Into MLflow's database",
        f"{TRACKED} finished trials with {RUNGS} reports each, in one process straight into the "
        "database, without a server between. longhaul: as `longhaul sync` delivers them, with "
        "parameters, artifacts and the page of the search; plain: the calls of "
        "MLflowLoggerCallback, which Ray Tune's driver waits for, report by report.",
    ),
    "driver": (
        "The driver as a search grows",
        f"The search's own code on a ledger on disk, without Ray: {DRIVEN} trials, two reports "
        "each, on top of so many finished ones. A report: written and synced, then ASHA's answer. "
        "A resume: reading the ledger and telling Optuna and ASHA of everything.",
    ),
}


def page(parts: dict[str, Figures], load: float) -> str:
    """The result page."""
    lines = [
        "# What a cluster's driver takes",
        f"`benchmarks/load.py`, one run of each. One-minute load before the start: {load:.2f}.",
    ]
    for name, figures in parts.items():
        title, text = PARTS[name]
        columns = list(dict.fromkeys(one for row in figures.values() for one in row))
        rows = [
            [name, *(f"{row[one]:,.3g}" if row[one] < 1000 else f"{row[one]:,.0f}" for one in row)]
            for name, row in figures.items()
        ]
        rule = ["---"] + ["--:"] * len(columns)
        table = "\n".join("| " + " | ".join(row) + " |" for row in [["", *columns], rule, *rows])
        lines += [f"## {title}", text, table]
    lines.append(machine_table(["ray", "optuna", "mlflow", "torch"]))
    return "\n\n".join(lines) + "\n"


def main() -> None:
    """Measures, and writes the page and the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--parts", default="search,tracking,driver")
    parser.add_argument("--trials", type=int, default=120, help="of the whole searches")
    parser.add_argument("--finished", default="10,10000", help="finished trials, for the driver")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    measured: dict[str, Callable[[], Figures]] = {
        "search": lambda: search_figures(options.trials),
        "tracking": tracking_figures,
        "driver": lambda: driver_figures([int(one) for one in options.finished.split(",")]),
    }
    parts = {name: measured[name]() for name in options.parts.split(",")}
    options.results.mkdir(parents=True, exist_ok=True)
    text = json.dumps(parts, indent=1) + "\n"
    (options.results / "cluster.json").write_text(text, encoding="utf-8")
    (options.results / "cluster.md").write_text(page(parts, load), encoding="utf-8")
    print(page(parts, load), end="")


if __name__ == "__main__":
    main()
