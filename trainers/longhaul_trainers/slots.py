"""Building tensors slot by slot, so that a trial starts alike alone and in a pack."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

S = TypeVar("S")


def stack_slots(
    slots: Sequence[S],
    generators: Sequence[torch.Generator],
    draw: Callable[[S, torch.Generator], Tensor],
) -> nn.Parameter:
    """A parameter of shape (P, ...) whose slice p is drawn from slot p's settings and generator.

    Args:
        slots: the settings of each of the P slots.
        generators: one generator a slot, on the CPU; nothing is drawn from any other source.
        draw: makes one slot's tensor.
    """
    drawn = [draw(slot, generator) for slot, generator in zip(slots, generators, strict=True)]
    return nn.Parameter(torch.stack(drawn))


def joined(slots: Sequence[Tensor]) -> Tensor:
    """The tensors of P slots as one of shape (P, ...); that of a single one is not copied.

    Its numbers follow each other in memory whatever P, as the order of a later sum depends on it.
    """
    return slots[0].unsqueeze(0).contiguous() if len(slots) == 1 else torch.stack(list(slots))


def parted(pack: Tensor) -> Sequence[Tensor]:
    """The slots of a tensor (P, ...), each of shape (...).

    What comes back through them is put together once, and that of a single one is not copied; a
    slot that is picked by its index sends back zeros for all the others.
    """
    return (pack.squeeze(0),) if len(pack) == 1 else pack.unbind(0)


def slot_vector(slots: Sequence[S], value: Callable[[S], float]) -> Tensor:
    """A float32 vector (P,) of one continuous hyperparameter."""
    return torch.tensor([value(slot) for slot in slots], dtype=torch.float32)
