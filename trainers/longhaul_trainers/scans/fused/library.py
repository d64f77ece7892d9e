"""Whether the Triton scans can be had, and which they are."""

import importlib.util
import logging
import os
from functools import cache
from importlib.metadata import version

import torch
from torch import Tensor

from longhaul_trainers.scans.native.library import VARIABLE

_log = logging.getLogger(__name__)


@cache
def available() -> bool:
    """Whether Triton is there and wanted; says once where it is missing."""
    if os.environ.get(VARIABLE) == "0":
        return False
    found = importlib.util.find_spec("triton") is not None
    if not found:
        _log.warning(
            "Triton is not installed, training on this device will be many times slower; "
            "`pip install triton` brings the fused scans, %s=0 asks for none",
            VARIABLE,
        )
    return found


def identity() -> str:
    """What decides the bits of the scans on a CUDA device; ``torch`` for those written with it."""
    return f"triton {version('triton')}" if available() else "torch"


def serves(states: Tensor) -> bool:
    """Whether the Triton scans take such tensors and are there."""
    return _on_device(states) and states.dtype == torch.float32 and available()


def _on_device(tensor: Tensor) -> bool:
    return tensor.is_cuda
