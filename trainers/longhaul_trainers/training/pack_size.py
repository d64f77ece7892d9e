"""How many trials should share a device, measured on it."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from longhaul_trainers.tasks.base import Task
from longhaul_trainers.training.evaluation import Measure
from longhaul_trainers.training.pack import Pack
from longhaul_trainers.training.settings import TrialConfig

GAIN = 1.15
"""Twice the slots must train at least this many times the steps a second, all trials together."""
MEMORY = 0.8
"""The part of the device's memory that a pack may take."""
LARGEST = 256
CACHED_FLOATS, CACHED_SLOTS = 2**22, 16
"""On a CPU: hidden states of all slots and steps of a training batch, and slots, beyond which a
larger pack no longer pays. Some slots share the bookkeeping of a step; with many, what one slot
wrote has left the caches when it is read again, and buffers beyond 32 MiB, which the C library
gives back at once, are paged in anew at every step."""
WARM_STEPS, TIMED_STEPS = 2, 5


@dataclass(frozen=True)
class Trying:
    """A pack of some size, tried out.

    Attributes:
        speed: training steps a second, of all its trials together.
        memory: the most of the device's memory that it took, as a part of all of it.
    """

    speed: float
    memory: float


def pack_size(attempt: Callable[[int], Trying | None], limit: int = LARGEST) -> int:
    """The size at which more slots stop paying: the sizes 1, 2, 4, ... are tried.

    Args:
        attempt: tries a size; None where it does not fit.
        limit: the largest size that is wanted.
    """
    best, size = attempt(1), 1
    while best is not None and 2 * size <= limit and 2 * best.memory <= MEMORY:
        tried = attempt(2 * size)
        if tried is None or tried.memory > MEMORY or tried.speed < GAIN * best.speed:
            break
        best, size = tried, 2 * size
    return size


def cached_slots(trial: TrialConfig, task: Task) -> int:
    """How many trials like this one a pack on a CPU should hold."""
    floats = task.length * (trial.training.batch_size or 1) * trial.cell.hidden_size
    return max(1, min(CACHED_SLOTS, CACHED_FLOATS // floats))


def measured_pack_size(
    trial: TrialConfig, device: str, share: float = 1.0, limit: int = LARGEST
) -> int:
    """`pack_size` for trials like this one on a CUDA device.

    Args:
        trial: any one of them.
        device: the device, which nobody else should be using.
        share: the part of its memory that there is to take.
        limit: the largest size that is wanted.
    """
    measure = Measure(trial, torch.device(device))

    def attempt(size: int) -> Trying | None:
        try:
            return _try(trial, device, size, share, measure)
        except torch.OutOfMemoryError:
            return None

    return pack_size(attempt, min(limit, LARGEST))


def _try(trial: TrialConfig, device: str, size: int, share: float, measure: Measure) -> Trying:
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    pack = Pack([trial] * size, device, measure=measure)
    for _ in range(WARM_STEPS):
        pack.train_step()
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(TIMED_STEPS):
        pack.train_step()
    torch.cuda.synchronize()
    speed = size * TIMED_STEPS / (time.perf_counter() - began)
    pack.points(range(size), valid=True)  # the evaluation takes more memory than a step
    total = torch.cuda.get_device_properties().total_memory * share
    return Trying(speed, torch.cuda.max_memory_allocated() / total)
