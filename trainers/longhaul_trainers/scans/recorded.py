"""Loops over the steps of a scan, recorded once as a CUDA graph and then replayed.

Dimensions: P slots, T steps, B sequences in a batch, H hidden units.

A loop written with torch launches a few small kernels a step, and a device waits for most of them.
A graph hands the device hundreds at once. It works on buffers of its own: what a loop reads is
copied in, what it overwrites is copied back. So a recording serves every tensor of the same shapes,
and no pointer of a caller outlives the call.

Each slot is a loop of its own on buffers of its own, all aligned alike, beside the others' on the
device: a library may choose another way for a batched product than for one, or for another
alignment, and a trial's bits would depend on the pack. A loop runs once without a recording, which
sets up the libraries; on the same buffers, so that its bits are those of the recording.
"""

import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor

from longhaul_trainers.scans.native.library import VARIABLE

Loop = Callable[..., None]
"""Reads some tensors (1, ...) and overwrites others; whatever else it is made of never changes."""
Record = Callable[[Callable[[], None], torch.device], Callable[[], None]]

STEPS = 32
"""Of a scan in one recording: enough to fill it, and few to copy at a time."""
MOST = 16
"""Recordings that are kept, those used last."""
BESIDE = 16
"""Loops that a device is given at a time."""
_ALIGNMENT = 128


def cuda_graph(work: Callable[[], None], device: torch.device) -> Callable[[], None]:
    """Records what ``work`` launches; the call of what is returned launches it all again."""
    graph = torch.cuda.CUDAGraph()
    # Other threads may go on using the device: those of the data, say.
    with torch.cuda.device(device), torch.cuda.graph(graph, capture_error_mode="thread_local"):
        work()
    return graph.replay


class Recordings:
    """The recordings of a process.

    Args:
        record: makes one; another than `cuda_graph` in tests without a device.
    """

    def __init__(self, record: Record = cuda_graph) -> None:
        self._record = record
        self._kept: OrderedDict[Any, _Recording] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def run(
        self, name: object, loop: Loop, read: Sequence[Tensor], written: Sequence[Tensor]
    ) -> None:
        """``loop(*read, *written)`` for each slot.

        Args:
            name: of the loop; another for all that its launches depend on besides the shapes.
            loop: see `Loop`.
            read: tensors (P, ...) that it leaves as they are.
            written: tensors (P, ...) that it overwrites, all or in part.
        """
        tensors = (*read, *written)
        key = name, len(read), tuple((one.shape, one.dtype, one.device) for one in tensors)
        recording = self._kept.pop(key, None) or _Recording(loop, tensors, self._record)
        self._kept[key] = recording
        while len(self._kept) > MOST:
            self._kept.popitem(last=False)
        recording.run(tensors, len(read))


class _Recording:
    def __init__(self, loop: Loop, tensors: Sequence[Tensor], record: Record) -> None:
        self._loop, self._record = loop, record
        self._buffers = [_aligned_slots(one) for one in tensors]
        self._runs = 0
        self._replay: Callable[[], None] = self._work

    def run(self, tensors: Sequence[Tensor], first_written: int) -> None:
        for buffer, tensor in zip(self._buffers, tensors, strict=True):
            buffer.copy_(tensor)
        if self._runs == 1:
            self._replay = self._record(self._work, tensors[0].device)
        self._runs += 1
        self._replay()
        for buffer, tensor in list(zip(self._buffers, tensors, strict=True))[first_written:]:
            tensor.copy_(buffer)

    def _work(self) -> None:
        slots = zip(*(buffer.split(1) for buffer in self._buffers), strict=True)
        works = [partial(self._loop, *slot) for slot in slots]
        _side_by_side(self._buffers[0].device, works)


def _aligned_slots(like: Tensor) -> Tensor:
    """An empty tensor of this shape in which every slot begins at a multiple of 512 bytes."""
    count = like[0].numel()
    padded = -(-count // _ALIGNMENT) * _ALIGNMENT
    rows = torch.empty(len(like), padded, dtype=like.dtype, device=like.device)
    return rows[:, :count].view(like.shape)


def _side_by_side(device: torch.device, works: Sequence[Callable[[], None]]) -> None:
    if device.type != "cuda" or len(works) == 1:
        for work in works:
            work()
        return
    current = torch.cuda.current_stream(device)
    streams = _streams(device)[: len(works)]
    for stream in streams:
        stream.wait_stream(current)
    for place, work in enumerate(works):
        with torch.cuda.stream(streams[place % len(streams)]):
            work()
    for stream in streams:
        current.wait_stream(stream)


@cache
def _streams(device: torch.device) -> list[torch.cuda.Stream]:
    return [torch.cuda.Stream(device) for _ in range(BESIDE)]


def parts(steps: int, recorded: Recordings | None) -> list[tuple[slice, slice]]:
    """Which steps to run at a time: all, or as many as one recording has.

    Returns:
        For each part its steps in tensors (P, T, ...), and in tensors (P, T + 1, ...) the same
        with the state before them.
    """
    length = max(steps, 1) if recorded is None else STEPS
    firsts = range(0, steps, length)
    return [(slice(one, one + length), slice(one, one + length + 1)) for one in firsts]


_recordings = Recordings()


def recordings(tensor: Tensor) -> Recordings | None:
    """Where loops on this tensor's device are recorded; None where they are not."""
    return _recordings if tensor.is_cuda and os.environ.get(VARIABLE) != "0" else None
