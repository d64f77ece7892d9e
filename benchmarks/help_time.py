"""How long `longhaul --help` takes, beside a bare Python start and the import of click alone.

    .venv/bin/python benchmarks/help_time.py

Writes benchmarks/results/help_time.md. The three commands take turns, so that a machine that gets
busier in the middle slows all of them; medians, so that one hiccup does not count.
"""

import subprocess
import sys
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter

from machine import machine_table

RUNS = 31
PYTHON = sys.executable
COMMANDS = {
    'python -c "pass"': [PYTHON, "-c", "pass"],
    'python -c "import click"': [PYTHON, "-c", "import click"],
    "longhaul --help": [str(Path(PYTHON).with_name("longhaul")), "--help"],
}
PAGE = Path(__file__).parent / "results" / "help_time.md"


def seconds(command: list[str]) -> float:
    """Wall time of one process, from start to end."""
    started = perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return perf_counter() - started


def measure() -> dict[str, list[float]]:
    """Wall times in seconds of every command, `RUNS` each after one that warms the disk cache."""
    times: dict[str, list[float]] = {label: [] for label in COMMANDS}
    for turn in range(RUNS + 1):
        for label, command in COMMANDS.items():
            elapsed = seconds(command)
            if turn > 0:
                times[label].append(elapsed)
    return times


def page(times: dict[str, list[float]]) -> str:
    """The measurement as Markdown."""
    medians = {label: median(runs) for label, runs in times.items()}
    bare = next(iter(medians.values()))
    rows = []
    for label, runs in times.items():
        low, _, high = quantiles(runs, n=4)
        rows.append(
            f"| `{label}` | {medians[label] * 1e3:.0f} | {low * 1e3:.0f} to {high * 1e3:.0f} "
            f"| {(medians[label] - bare) * 1e3:+.0f} |"
        )
    over = medians["longhaul --help"] - bare
    verdict = "kept" if over <= 0.1 else "broken"
    return "\n".join(
        [
            "# Start-up time of the command line",
            "",
            "Written by `.venv/bin/python benchmarks/help_time.py`; "
            f"medians of {RUNS} runs each, the commands taking turns, disk cache warm.",
            "",
            "| command | median, ms | quartiles, ms | over a bare start, ms |",
            "|---|---|---|---|",
            *rows,
            "",
            "The promise is at most 100 ms over a bare Python start: "
            f"{over * 1e3:.0f} ms, {verdict}.",
            "",
            machine_table(["click"]),
            "",
        ]
    )


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(measure()), encoding="utf-8")
    print(PAGE.read_text(encoding="utf-8"), end="")
