"""What may change the bits of a training run, and the fingerprint made of it.

Thread count and instruction set change the results of a CPU's matrix products, so *identical* is
claimed for equal fingerprints only.
"""

import hashlib
import json
import os
import platform
import sys
from functools import cache
from pathlib import Path
from typing import Any

BITS = (
    "versions",
    "processor",
    "instruction_set",
    "device",
    "threads",
    "flags",
    "trainers_sha256",
    "scans",
)
"""The parts of an environment that its fingerprint covers; the rest is for people."""

_PACKAGES = ("torch", "numpy", "safetensors", "longhaul")
_VARIABLES = ("ATEN_CPU_CAPABILITY", "MKL_CBWR", "CUBLAS_WORKSPACE_CONFIG")


def capture(device: str, threads: int) -> dict[str, Any]:
    """The environment of this process.

    Args:
        device: where training computes, ``cpu`` or ``cuda``.
        threads: threads that one trial's arithmetic runs on.
    """
    # imported here: 2 s
    import torch

    from longhaul_trainers.scans.fused import library as fused
    from longhaul_trainers.scans.native import library as native

    environment = {
        "versions": dict(_versions()),
        "processor": _processor(),
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "device": torch.cuda.get_device_name() if device != "cpu" else "cpu",
        "threads": threads,
        "flags": {name: os.environ[name] for name in _VARIABLES if name in os.environ},
        "trainers_sha256": _trainers_sha256(),
        "scans": (native if device == "cpu" else fused).identity(),
        "system": platform.platform(),
        "libraries": dict(_libraries()),
    }
    return environment | {"fingerprint": fingerprint(environment)}


def fingerprint(environment: dict[str, Any]) -> str:
    """Sixteen hexadecimal digits over the parts that may change bits."""
    covered = {name: environment.get(name) for name in BITS}
    return hashlib.sha256(json.dumps(covered, sort_keys=True).encode()).hexdigest()[:16]


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Where two environments differ in what may change bits, one line each."""
    lines = []
    for name in BITS:
        if one.get(name) == other.get(name):
            continue
        if isinstance(one.get(name), dict) and isinstance(other.get(name), dict):
            keys = sorted(one[name].keys() | other[name].keys())
            lines += [
                f"{name}.{key}: {one[name].get(key)} / {other[name].get(key)}"
                for key in keys
                if one[name].get(key) != other[name].get(key)
            ]
        else:
            lines.append(f"{name}: {one.get(name)} / {other.get(name)}")
    return lines


@cache
def _versions() -> dict[str, str]:
    from importlib.metadata import version

    python = ".".join(str(part) for part in sys.version_info[:3])
    return {"python": python} | {name: version(name) for name in _PACKAGES}


@cache
def _libraries() -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in ("ray", "optuna", "mlflow", "pyarrow")}


@cache
def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


@cache
def _trainers_sha256() -> str:
    """Over the source of everything that computes, so that an edited checkout is told apart."""
    import longhaul_trainers

    root = Path(longhaul_trainers.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
