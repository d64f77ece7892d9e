"""Small training batches, made for a few steps at once.

Between two training steps the processor forgets how batches are made: of one of some hundred
kilobytes, most of the time is in the calls, not in the numbers. So those of the next steps are made
by the same calls, or right behind. Which ones these are depends on the step alone, so a trial that
is taken up anywhere has the same batches.
"""

from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import final

from longhaul_trainers.tasks.base import Batch, Task

BLOCK_BYTES = 1 << 22
MOST_STEPS = 16
KEPT_BLOCKS = 256
"""More than trials train at once; those of trials that were stopped give way."""


@final
class StepsAhead:
    """The batches of training steps, by seed and batch size.

    Args:
        make: ``make(seed, step, steps, batch_size)``, the batches of ``steps`` steps from ``step``
            on, one after the other.
        block_bytes: what is made at once takes no more, unless it is a single batch.
    """

    def __init__(
        self,
        make: Callable[[int, int, int, int], Iterable[Batch]],
        block_bytes: int = BLOCK_BYTES,
    ) -> None:
        self._make = make
        self._block_bytes = block_bytes
        self._steps: dict[int, int] = {}
        # Trials of one seed may stand at different steps, so there may be some for each.
        self._blocks: OrderedDict[tuple[int, int, int], dict[int, Batch]] = OrderedDict()

    def batch(self, seed: int, step: int, batch_size: int) -> Batch:
        """The batch of one step, the caller's own."""
        steps = self._steps.get(batch_size, 1)
        if steps == 1:
            (made,) = self._make(seed, step, 1, batch_size)
            size = max(1, made.inputs.nbytes + made.targets.nbytes)
            self._steps[batch_size] = max(1, min(MOST_STEPS, self._block_bytes // size))
            return made
        first = step - step % steps
        key = (seed, batch_size, first)
        block = self._blocks.get(key)
        if block is None:
            block = dict(enumerate(self._make(seed, first, steps, batch_size), first))
            self._blocks[key] = block
            if len(self._blocks) > KEPT_BLOCKS:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(key)
        if step in block:
            return block.pop(step)
        # Whoever asks for the same step again gets another batch of his own.
        (made,) = self._make(seed, step, 1, batch_size)
        return made


class TaskAhead(Task):
    """A task whose training batches are made that way."""

    @abstractmethod
    def training_batches(
        self, seed: int, step: int, steps: int, batch_size: int
    ) -> Iterable[Batch]:
        """The batches of ``steps`` steps from ``step`` on, one after the other."""

    def training_batch(self, seed: int, step: int, batch_size: int) -> Batch:
        """See `Task.training_batch`."""
        return self._ahead.batch(seed, step, batch_size)

    @cached_property
    def _ahead(self) -> StepsAhead:
        return StepsAhead(self.training_batches)
