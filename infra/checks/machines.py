"""Checks of what starts Longhaul on machines: systemd units, `ray up` files, Slurm jobs."""

import os
import re
import tempfile
from pathlib import Path

import yaml

from check import Rule
from tools import problems, run

EXPOSURE = 20
"""What `systemd-analyze security` may say at most, in tenths; 100 is a unit without protection."""
INSTALLED = Path("/opt/longhaul")
_ABSENT = re.compile(r"^\S+: Command (\S+) is not executable: No such file or directory$")


def verify_unit(root: Path, path: Path) -> list[str]:
    """Systemd reads the unit; that Longhaul is not installed on this machine is no fault of it."""
    done = run("systemd-analyze", "verify", root / path)
    said = []
    for line in (done.stdout + done.stderr).splitlines():
        absent = _ABSENT.match(line)
        if absent is None:
            said.append(line)
        elif not _is_ours(root, Path(absent[1])):
            said.append(f"{absent[1]} is no program of the repository")
    return said


def _is_ours(root: Path, program: Path) -> bool:
    if not program.is_relative_to(INSTALLED):
        return False
    inside = program.relative_to(INSTALLED)
    return inside.parts[0] == ".venv" or os.access(root / inside, os.X_OK)


def unit_security(root: Path, path: Path) -> list[str]:
    """Systemd finds the service well protected, and it listens to this machine alone."""
    done = run(
        "systemd-analyze",
        "security",
        "--offline=yes",
        f"--threshold={EXPOSURE}",
        "--no-pager",
        root / path,
    )
    lines = (root / path).read_text(encoding="utf-8").splitlines()
    said = [] if done.returncode == 0 else [done.stdout.strip().splitlines()[-1]]
    for line in ("IPAddressDeny=any", "IPAddressAllow=localhost", "User=longhaul"):
        said += [] if line in lines else [f"{line} is missing"]
    return said


def ray_up(root: Path, path: Path) -> list[str]:
    """Ray's own schema and preparation of cluster files; and the files that it sends exist."""
    # imported here: 2 s
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = yaml.safe_load((root / path).read_text(encoding="utf-8"))
    try:
        validate_config(prepare_config(config))
    except Exception as error:
        # jsonschema, ValueError, KeyError: whatever Ray's provider raises
        return [f"{type(error).__name__}: {str(error).splitlines()[0]}"]
    said = []
    made = {"infra/ray-up/ray-token", "infra/ray-up/nfs-address"}
    for source in config["file_mounts"].values():
        if source not in made and not (root / source).exists():
            said.append(f"file_mounts: {source} does not exist")
    said += _shell(config)
    workers = {name: one for name, one in config["available_node_types"].items() if name != "head"}
    for name, one in workers.items():
        node = one["node_config"]
        spot = node.get("InstanceMarketOptions") == {"MarketType": "spot"}
        if not spot and {"preemptible": True} not in node.get("scheduling", []):
            said.append(f"{name} is not made of spot machines")
    return said


def _shell(config: dict[str, list[str]]) -> list[str]:
    said = []
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "command.sh"
        for key in ("setup_commands", "head_start_ray_commands", "worker_start_ray_commands"):
            for command in config[key]:
                script.write_text(command + "\n", encoding="utf-8")
                # Their files are on another machine, and a tilde there is that machine's.
                excluded = "--exclude=SC1090,SC1091,SC2016"
                done = run("shellcheck", "--shell=bash", excluded, script)
                said += [f"{key}: {one}" for one in problems(done)]
            starts = [one for one in config[key] if "ray start" in one]
            said += [f"{key}: no token" for one in starts if "~/.profile" not in one]
    if not any("RAY_AUTH_MODE=token" in one for one in config["setup_commands"]):
        said.append("setup_commands: nobody is asked for a token")
    return said


def slurm_options(root: Path, path: Path) -> list[str]:
    """The job asks Slurm for a second chance, a warning in time and a log that it continues.

    Slurm reads the options of a job only where a controller runs: infra/slurm/rehearsal.py has one.
    """
    text = (root / path).read_text(encoding="utf-8")
    said = []
    for option in ("--requeue", "--open-mode=append", "--signal=B:USR1@", "--ntasks-per-node=1"):
        said += [] if f"\n#SBATCH {option}" in text else [f"#SBATCH {option} is missing"]
    return said


RULES = [
    Rule(
        "systemd-analyze verify",
        ("infra/systemd/*.service", "infra/systemd/*.timer"),
        verify_unit,
        ("systemd-analyze",),
    ),
    Rule(
        "systemd-analyze security",
        ("infra/systemd/*.service",),
        unit_security,
        ("systemd-analyze",),
    ),
    Rule("schema of ray up", ("infra/ray-up/*.yaml",), ray_up, ("shellcheck",)),
    Rule("options of the Slurm job", ("infra/slurm/*.sbatch",), slurm_options),
]
