"""Finds the programs that check files, and runs them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

HOW = {
    "bash": "apt-get install bash",
    "check-jsonschema": "make infra",
    "hadolint": "make infra",
    "kubernetes-validate": "make infra",
    "shellcheck": "make infra",
    "yamllint": "make infra",
    "docker-compose": "apt-get install docker-compose",
    "kubectl": "install kubectl 1.27 or newer (kubernetes.io, Install Tools)",
    "promtool": "apt-get install prometheus",
    "sbatch": "apt-get install slurm-client slurmctld slurmd munge",
    "systemd-analyze": "apt-get install systemd",
}


class MissingToolError(Exception):
    """A program that is needed is not here."""

    def __init__(self, tool: str) -> None:
        super().__init__(f"{tool} is not here: {HOW[tool]}")
        self.tool = tool


def find(tool: str) -> str:
    """The path of a program: beside this Python, or on the PATH.

    Raises:
        MissingToolError: saying how to get it.
    """
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    found = shutil.which(tool, path=path)
    if found is None:
        raise MissingToolError(tool)
    return found


def run(
    tool: str, *words: str | Path, folder: Path | None = None, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs a program, its messages caught."""
    return subprocess.run(
        [find(tool), *map(str, words)],
        cwd=folder,
        env=None if env is None else {**os.environ, **env},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def problems(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What a program complained of; nothing where it ended with status 0."""
    if done.returncode == 0:
        return []
    said = (done.stdout + done.stderr).strip()
    return [said or f"{done.args[0]} ended with status {done.returncode}"]
