"""What tasks have in common whose sequences are drawn, not read."""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import cast

from longhaul_trainers.counter import Stream, Words
from longhaul_trainers.settings import Settings, setting
from longhaul_trainers.tasks.ahead import BLOCK_BYTES, StepsAhead, TaskAhead
from longhaul_trainers.tasks.base import Batch, Protocol, Split
from longhaul_trainers.tasks.by_sequence import BatchesOf
from longhaul_trainers.tasks.epochs import EpochOrder


class DrawnTask(TaskAhead):
    """A task that makes each sequence from a fixed number of random words.

    Sequence b of a set is made from row b of the set's words alone, so a larger evaluation set
    begins with a smaller one's sequences. The words do not depend on the protocol: protocols are
    compared on the same draws.
    """

    @property
    @abstractmethod
    def words_per_sequence(self) -> int:
        """How many random words one sequence takes."""

    @abstractmethod
    def sequences(self, words: Words) -> Batch:
        """The sequences made from the rows of ``words``, shape (B, words_per_sequence)."""

    def evaluation_set(self, split: Split, size: int) -> Batch:
        """See `Task.evaluation_set`."""
        return next(self.evaluation_chunks(split, size, size))

    def evaluation_chunks(self, split: Split, size: int, sequences: int) -> Iterator[Batch]:
        """See `Task.evaluation_chunks`; a chunk is drawn when it is asked for."""
        stream = Stream(self.settings.name, split)
        for first in range(0, size, sequences):
            rows = min(sequences, size - first)
            yield self.evaluation_sequences(stream, rows, first)

    def evaluation_sequences(self, stream: Stream, rows: int, first: int) -> Batch:
        """So many sequences of an evaluation set, from number ``first`` on."""
        return self.sequences(stream.words(rows, self.words_per_sequence, first_row=first))


class SyntheticTask(DrawnTask):
    """A task that draws new sequences at every training step, never the same again.

    A larger batch of the same seed and step begins with a smaller one's sequences.
    """

    def sequences(self, words: Words) -> Batch:
        """See `DrawnTask.sequences`."""
        return self.shown(self.drawn(words))

    @abstractmethod
    def drawn(self, words: Words) -> Batch:
        """All that is random about the sequences made from the rows of ``words``, no larger."""

    def shown(self, drawn: Batch) -> Batch:
        """What the cell gets of it."""
        return drawn

    @cached_property
    def _draws(self) -> StepsAhead:
        # What is drawn is smaller than what is shown of it, so that it is made for more steps.
        return StepsAhead(self._drawn_steps, BLOCK_BYTES // 2)

    def training_batches(
        self, seed: int, step: int, steps: int, batch_size: int
    ) -> Iterator[Batch]:
        """See `TaskAhead.training_batches`."""
        for at in range(step, step + steps):
            yield self.shown(self._draws.batch(seed, at, batch_size))

    def _drawn_steps(self, seed: int, step: int, steps: int, batch_size: int) -> Iterator[Batch]:
        stream = Stream(self.settings.name, "training", seed)
        words = stream.words_of_steps(batch_size, self.words_per_sequence, step=step, steps=steps)
        return self.drawn(words).split(batch_size)


@dataclass(frozen=True, kw_only=True)
class FiniteProtocol(Protocol):
    """A protocol with a fixed training set.

    Attributes:
        training_size, validation_size, test_size: sequences in each set.
    """

    training_size: int
    validation_size: int
    test_size: int


@dataclass(frozen=True, kw_only=True)
class FiniteSettings(Settings):
    """What tasks with a fixed training set have in common."""

    training_size: int | None = setting(
        None,
        ge=1,
        structural=True,
        searchable=False,
        help="sequences in the training set; null: as the protocol published",
    )


class FiniteTask(DrawnTask):
    """A task whose training set is drawn once, the same for all seeds, and passed in epochs.

    The order of an epoch depends on the trial's data seed and the epoch alone. A larger training
    set begins with a smaller one's sequences.
    """

    @property
    @abstractmethod
    def protocol(self) -> FiniteProtocol:
        """See `Task.protocol`."""

    @property
    def training_size(self) -> int:
        """Sequences in the training set."""
        return self._finite_settings.training_size or self.protocol.training_size

    def evaluation_chunks(self, split: Split, size: int, sequences: int) -> Iterator[Batch]:
        """See `Task.evaluation_chunks`; at most as many as the protocol has."""
        protocol = self.protocol
        held = protocol.validation_size if split == "validation" else protocol.test_size
        return super().evaluation_chunks(split, min(size, held), sequences)

    def training_batches(
        self, seed: int, step: int, steps: int, batch_size: int
    ) -> Iterator[Batch]:
        """See `TaskAhead.training_batches`."""
        whole = _training_set(type(self), self._finite_settings)
        return whole.take(self._order.batches(seed, step, batch_size, steps))

    @cached_property
    def _order(self) -> EpochOrder:
        return EpochOrder(self.training_size, self.settings.name)

    @property
    def _finite_settings(self) -> FiniteSettings:
        return cast(FiniteSettings, self.settings)


@lru_cache(maxsize=2)
def _training_set(task_type: type[FiniteTask], settings: FiniteSettings) -> BatchesOf:
    # Kept from one trial to the next in the same process, which mostly have the same task.
    task = task_type(settings)
    stream = Stream(settings.name, "training set")
    words = stream.words(task.training_size, task.words_per_sequence)
    return BatchesOf(task.sequences(words))
