"""Processor times of a program and of everything it starts, however far away it ends up."""

import os
import subprocess
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

MARK = "BENCHMARK_RUN"
SAMPLE_S = 0.25


def run_sampled(
    command: Sequence[str],
    folder: Path,
    log: Path,
    environment: dict[str, str],
    role: Callable[[list[str]], str],
) -> tuple[float, dict[str, float]]:
    """Runs a program to its end. Linux only.

    Its processes are told from all others by a mark in their environment, which survives what
    Ray and daemons do: sessions of their own, parents that end before them. Ray does not wait for
    its workers, so nobody is told what they used; they are sampled while they live, and the last
    quarter of a second of each is missing.

    Args:
        command: the program.
        folder: where it runs.
        log: gets its output.
        environment: variables besides this process's.
        role: sorts processes by their command line.

    Returns:
        Wall time, and processor time for each role, in seconds.

    Raises:
        RuntimeError: the program failed; with the end of its output.
    """
    mark = uuid.uuid4().hex
    times = _ProcessTimes(f"{MARK}={mark}".encode(), role)
    began = time.perf_counter()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdout=output,
            stderr=output,
            env=os.environ | environment | {MARK: mark},
        )
        while process.poll() is None:
            times.sample()
            time.sleep(SAMPLE_S)
    wall_s = time.perf_counter() - began
    if process.returncode != 0:
        tail = log.read_text(encoding="utf-8", errors="replace")[-3000:]
        raise RuntimeError(f"{' '.join(command)}: status {process.returncode}\n{tail}")
    return wall_s, times.by_role()


class _ProcessTimes:
    def __init__(self, mark: bytes, role: Callable[[list[str]], str]) -> None:
        self._mark = mark
        self._role = role
        self._ours: dict[str, bool] = {}
        self._used: dict[str, tuple[str, float]] = {}

    def sample(self) -> None:
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                self._look_at(folder)
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue  # has just ended, or is another user's

    def by_role(self) -> dict[str, float]:
        totals: dict[str, float] = {}
        for role, used in self._used.values():
            totals[role] = totals.get(role, 0.0) + used
        return totals

    def _look_at(self, folder: Path) -> None:
        # The name, in brackets, may hold blanks; state, ..., utime, stime, ..., start follow it.
        fields = (folder / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        # Numbers are used again: a process is known by its number and its start.
        key = f"{folder.name} {fields[19]}"
        if key not in self._ours:
            self._ours[key] = self._mark in (folder / "environ").read_bytes()
        if not self._ours[key]:
            return
        command = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
        used = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        # One that has ended, and was not waited for, has no command line any more.
        role = self._role(command) if command[0] else self._used.get(key, ("unknown", 0.0))[0]
        self._used[key] = role, used
