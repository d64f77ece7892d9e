"""What a measurement must say about where it was made: processor, memory, accelerator, versions."""

import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def describe_machine(packages: Sequence[str] = ()) -> dict[str, str]:
    """The machine and the versions, without anything that names this one machine.

    Args:
        packages: distributions whose versions matter to the measurement, besides ours.

    Returns:
        Label to text, in the order in which a page should show them.
    """
    described = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "processor": _processor(),
        "cores": f"{len(os.sched_getaffinity(0))} usable of {os.cpu_count()}",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "accelerator": _accelerator(),
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "Python": platform.python_version(),
    }
    return described | {name: _version(name) for name in ("longhaul", *packages)}


def machine_table(packages: Sequence[str] = ()) -> str:
    """`describe_machine` as a Markdown table."""
    rows = [f"| {label} | {text} |" for label, text in describe_machine(packages).items()]
    return "\n".join(["| measured on | |", "|---|---|", *rows])


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _accelerator() -> str:
    query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        found = subprocess.run(query, capture_output=True, encoding="utf-8", check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return "none"
    names = found.strip().splitlines()
    return f"{len(names)} × {names[0].strip()}" if names else "none"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
