"""What trains here: the compiled scans of the CPU, and accelerators."""

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from longhaul.doctor.finding import Finding, ok, warning

COMPILER = "compiler"
GPU = "gpu"
DRIVER = Path("/proc/driver/nvidia/version")


def check_compiler() -> Iterator[Finding]:
    """Loads the compiled scans, compiling them where nobody has yet."""
    # imported here: torch takes seconds
    from longhaul_trainers.scans.native.library import VARIABLE, compiled

    if os.environ.get(VARIABLE) == "0":
        message = "the compiled scans are switched off; training on CPUs is several times slower"
        yield warning(COMPILER, message, f"unset {VARIABLE}")
        return
    try:
        made = compiled()
        ctypes.CDLL(str(made))
    # Path.home() raises RuntimeError where the user has none
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        told = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
        message = f"the scans cannot be compiled: {told[0] if told else error!r}"
        fix = "install g++ (Debian: apt-get install g++), and let ~/.cache be yours alone"
        yield warning(COMPILER, f"{message}; training on CPUs is several times slower", fix)
        return
    yield ok(COMPILER, f"the scans are compiled for this processor: {made}")


def check_gpu(driver: Path = DRIVER) -> Iterator[Finding]:
    """Compares the NVIDIA driver with what torch was built for, and lists the devices.

    Args:
        driver: the file in which the kernel tells of its driver.
    """
    # imported here: torch takes seconds
    import torch

    there = driver.exists() or shutil.which("nvidia-smi") is not None
    built = torch.version.cuda
    if built is None and there:
        message = f"there is an NVIDIA driver, but torch {torch.__version__} was built for CPUs"
        yield warning(GPU, message, "install the CUDA build that pytorch.org names for pip")
    elif built is None:
        yield ok(GPU, f"none; torch {torch.__version__} was built for CPUs")
    elif not torch.cuda.is_available():
        message = f"torch {torch.__version__} was built for CUDA {built} and sees no device"
        if there:
            yield warning(GPU, message, "update the driver, and look at CUDA_VISIBLE_DEVICES")
        else:
            yield ok(GPU, f"{message}; there is no NVIDIA driver")
    else:
        yield from _devices(built)


def _devices(built: str) -> Iterator[Finding]:
    import torch

    from longhaul_trainers.scans.fused.library import available

    for number in range(torch.cuda.device_count()):
        name = torch.cuda.get_device_name(number)
        try:
            torch.ones(8, device=f"cuda:{number}").sum().item()
            free, whole = torch.cuda.mem_get_info(number)
        except RuntimeError as error:  # built for other devices, no memory, a broken driver
            message = f"{name} does not compute: {str(error).splitlines()[0]}"
            yield warning(GPU, message, "see who uses it: nvidia-smi")
            continue
        memory = f"{free / 2**30:.0f} of {whole / 2**30:.0f} GiB free"
        yield ok(GPU, f"{name}, {memory}, torch for CUDA {built}")
    if not available():
        message = "Triton is missing; training on a GPU is many times slower"
        yield warning(GPU, message, "pip install triton, of the version that torch names")
    else:
        yield ok(GPU, f"the scans run on Triton {version('triton')}")
