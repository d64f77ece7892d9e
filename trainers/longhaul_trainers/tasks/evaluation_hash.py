"""What tells whether two evaluation sets are the same, made without having all of a set at once.

A digest reads a set step by step, each with all its sequences. Sets that are made in chunks of
sequences are therefore made more than once if they are large.
"""

import hashlib
from collections.abc import Iterator
from typing import Final, Literal

import torch
from torch import Tensor

from longhaul_trainers.tasks.base import Batch, Split, Task

HASHED_STEPS: Final = 4096
"""Time steps of long sequences that are in memory at once."""
HASHED_BYTES: Final = 1 << 28
"""How much of a set of many sequences is in memory at once."""

Part = Literal["inputs", "targets"]
PARTS: Final[tuple[Part, ...]] = ("inputs", "targets")


def evaluation_hash(task: Task, split: Split, size: int) -> str:
    """SHA-256 of an evaluation set: shapes, inputs (float32) and targets, little endian."""
    digest = hashlib.sha256()
    whole = _small(task, split, size)
    for part in PARTS:
        if whole is not None:
            found: Tensor = getattr(whole, part)
            shape, blocks = tuple(found.shape), iter([found])
        elif task.carries_state:
            shape, blocks = _long(task, split, size, part)
        else:
            shape, blocks = _many(task, split, size, part)
        for i, block in enumerate(blocks):
            array = block.contiguous().numpy()
            little = array.astype(array.dtype.newbyteorder("<"), copy=False)
            if i == 0:
                digest.update(f"{little.dtype.str}{shape}".encode())
            digest.update(little.tobytes())
    return digest.hexdigest()


def _small(task: Task, split: Split, size: int) -> Batch | None:
    """The whole set, if it may be in memory at once."""
    if task.carries_state:
        return None
    chunks = task.evaluation_chunks(split, size, _at_once(task, split))
    first = next(chunks)
    return first if next(chunks, None) is None else None


def _long(
    task: Task, split: Split, size: int, part: Part
) -> tuple[tuple[int, ...], Iterator[Tensor]]:
    """Shape and pieces along time of a set of long sequences."""

    def pieces() -> Iterator[Tensor]:
        for piece in task.evaluation_pieces(split, size, HASHED_STEPS):
            yield getattr(piece, part)

    rest = next(pieces()).shape[1:]
    return (sum(map(len, pieces())), *rest), pieces()


def _many(
    task: Task, split: Split, size: int, part: Part
) -> tuple[tuple[int, ...], Iterator[Tensor]]:
    """Shape and pieces along time of a set of many sequences, which is made anew for each."""

    def chunks() -> Iterator[Tensor]:
        for chunk in task.evaluation_chunks(split, size, _at_once(task, split)):
            yield getattr(chunk, part)

    steps, _, *rest = next(chunks()).shape
    sequences = sum(chunk.shape[1] for chunk in chunks())
    each = next(chunks())[:1, :1]
    at_once = max(1, HASHED_BYTES // (sequences * each.nbytes))

    def blocks() -> Iterator[Tensor]:
        for first in range(0, steps, at_once):
            # cloned, for a view would keep its whole chunk
            yield torch.cat([chunk[first : first + at_once].clone() for chunk in chunks()], 1)

    return (steps, sequences, *rest), blocks()


def _at_once(task: Task, split: Split) -> int:
    """Sequences of a chunk."""
    one = next(task.evaluation_chunks(split, 1, 1))
    return max(1, HASHED_BYTES // (one.inputs.nbytes + one.targets.nbytes))
