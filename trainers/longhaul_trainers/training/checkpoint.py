"""Checkpoints: numbers as safetensors, facts as JSON; never a pickle."""

import json
from collections.abc import Mapping
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

FORMAT = 1
TENSORS, FACTS = "state.safetensors", "state.json"


def write_checkpoint(facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, bytes]:
    """The files of a checkpoint by name."""
    numbers = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    return {
        TENSORS: safetensors.torch.save(numbers),
        FACTS: json.dumps({"format": FORMAT, **facts}, sort_keys=True).encode(),
    }


def read_checkpoint(files: Mapping[str, bytes]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The facts and tensors of a checkpoint.

    Args:
        files: what `write_checkpoint` made.

    Raises:
        ValueError: a file is missing or damaged, or the format is another.
    """
    for name in (TENSORS, FACTS):
        if name not in files:
            raise ValueError(f"the checkpoint has no {name}")
    try:
        facts = json.loads(files[FACTS])
        tensors = safetensors.torch.load(files[TENSORS])
    except (ValueError, RecursionError, safetensors.SafetensorError) as error:
        raise ValueError(f"the checkpoint is damaged: {error}") from error
    if not isinstance(facts, dict) or facts.pop("format", None) != FORMAT:
        raise ValueError(f"the checkpoint is not of format {FORMAT}")
    return facts, tensors


def check_tensors(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Refuses tensors that are not the expected ones by name and shape.

    Raises:
        ValueError: with the names of those that differ.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in found.items()}
    wanted = {name: tuple(tensor.shape) for name, tensor in expected.items()}
    if shapes != wanted:
        different = sorted(n for n in shapes | wanted if shapes.get(n) != wanted.get(n))
        raise ValueError(f"the checkpoint has other tensors: {', '.join(different)}")
