"""What tasks have in common whose sequences are drawn, not read."""

from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import cast

import torch

from longhaul_trainers.counter import Stream, Words
from longhaul_trainers.settings import Settings, setting
from longhaul_trainers.tasks.base import Batch, Protocol, Split, Task
from longhaul_trainers.tasks.epochs import EpochOrder


class DrawnTask(Task):
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
        stream = Stream(self.settings.name, split)
        return self.sequences(stream.words(size, self.words_per_sequence))


class SyntheticTask(DrawnTask):
    """A task that draws new sequences at every training step, never the same again.

    A larger batch of the same seed and step begins with a smaller one's sequences.
    """

    def training_batch(self, seed: int, step: int, batch_size: int) -> Batch:
        """See `Task.training_batch`."""
        stream = Stream(self.settings.name, "training", seed)
        return self.sequences(stream.words(batch_size, self.words_per_sequence, step=step))


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

    def training_batch(self, seed: int, step: int, batch_size: int) -> Batch:
        """See `Task.training_batch`."""
        chosen = torch.from_numpy(self._order.batch(seed, step, batch_size))
        whole = _training_set(type(self), self._finite_settings)
        return Batch(whole.inputs[:, chosen], whole.targets[:, chosen])

    def evaluation_set(self, split: Split, size: int) -> Batch:
        """See `Task.evaluation_set`; at most as many as the protocol has."""
        protocol = self.protocol
        held = protocol.validation_size if split == "validation" else protocol.test_size
        return super().evaluation_set(split, min(size, held))

    @cached_property
    def _order(self) -> EpochOrder:
        return EpochOrder(self.training_size, self.settings.name)

    @property
    def _finite_settings(self) -> FiniteSettings:
        return cast(FiniteSettings, self.settings)


@lru_cache(maxsize=2)
def _training_set(task_type: type[FiniteTask], settings: FiniteSettings) -> Batch:
    # Kept from one trial to the next in the same process, which mostly have the same task.
    task = task_type(settings)
    stream = Stream(settings.name, "training set")
    return task.sequences(stream.words(task.training_size, task.words_per_sequence))
