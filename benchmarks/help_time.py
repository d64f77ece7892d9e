"""How long `longhaul --help` takes, beside a bare Python start and the import of click alone.

    .venv/bin/python benchmarks/help_time.py

Writes benchmarks/results/help_time.md. The three commands take turns, so that a machine that gets
busier in the middle slows all of them; medians, so that one hiccup does not count. Processor time
(user and system) is what is left where other work shares the cores.
"""

import os
import subprocess
import sys
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter
from typing import NamedTuple

from machine import machine_table

RUNS = 31
PYTHON = sys.executable
COMMANDS = {
    'python -c "pass"': [PYTHON, "-c", "pass"],
    'python -c "import click"': [PYTHON, "-c", "import click"],
    "longhaul --help": [str(Path(PYTHON).with_name("longhaul")), "--help"],
}
PAGE = Path(__file__).parent / "results" / "help_time.md"


class Run(NamedTuple):
    """What one process took, in seconds."""

    wall: float
    processor: float


def timed(command: list[str]) -> Run:
    """Runs a command to its end; raises if it fails."""
    started = perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall = perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return Run(wall, usage.ru_utime + usage.ru_stime)


def measure() -> dict[str, list[Run]]:
    """`RUNS` runs of every command, after one each that warms the disk cache."""
    runs: dict[str, list[Run]] = {label: [] for label in COMMANDS}
    for turn in range(RUNS + 1):
        for label, command in COMMANDS.items():
            run = timed(command)
            if turn > 0:
                runs[label].append(run)
    return runs


def page(measured: dict[str, list[Run]], load: float) -> str:
    """The measurement as Markdown; ``load`` is the load average when it began."""
    wall = {label: median(run.wall for run in runs) for label, runs in measured.items()}
    bare = next(iter(wall.values()))
    rows = []
    for label, runs in measured.items():
        low, _, high = quantiles([run.wall for run in runs], n=4)
        processor = median(run.processor for run in runs)
        rows.append(
            f"| `{label}` | {_ms(wall[label])} | {_ms(low)} to {_ms(high)} "
            f"| {_ms(wall[label] - bare)} | {_ms(processor)} |"
        )
    over = wall["longhaul --help"] - bare
    verdict = "kept" if over <= 0.1 else "not kept in this measurement"
    return "\n".join(
        [
            "# Start-up time of the command line",
            "",
            "Written by `.venv/bin/python benchmarks/help_time.py`; "
            f"medians of {RUNS} runs each, the commands taking turns, disk cache warm. "
            f"Load average at the start: {load:.1f}.",
            "",
            "| command | wall, ms | quartiles, ms | over a bare start, ms | processor, ms |",
            "|---|---|---|---|---|",
            *rows,
            "",
            "The promise is at most 100 ms of wall time over a bare Python start: "
            f"{_ms(over)} ms, {verdict}.",
            "",
            machine_table(["click"]),
            "",
        ]
    )


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.0f}"


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    load = os.getloadavg()[0]
    PAGE.write_text(page(measure(), load), encoding="utf-8")
    print(PAGE.read_text(encoding="utf-8"), end="")
