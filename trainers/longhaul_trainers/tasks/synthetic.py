"""What tasks have in common whose sequences are drawn, not read."""

from abc import abstractmethod

from longhaul_trainers.counter import Stream, Words
from longhaul_trainers.tasks.base import Batch, Split, Task


class SyntheticTask(Task):
    """A task that makes each sequence from a fixed number of random words.

    Sequence b of a batch is made from row b of the step's words alone. So a larger batch of the
    same seed and step begins with a smaller one's sequences, and evaluation sets behave alike.
    The words do not depend on the protocol: protocols are compared on the same draws.
    """

    @property
    @abstractmethod
    def words_per_sequence(self) -> int:
        """How many random words one sequence takes."""

    @abstractmethod
    def sequences(self, words: Words) -> Batch:
        """The sequences made from the rows of ``words``, shape (B, words_per_sequence)."""

    def training_batch(self, seed: int, step: int, batch_size: int) -> Batch:
        """See `Task.training_batch`."""
        stream = Stream(self.settings.name, "training", seed)
        return self.sequences(stream.words(batch_size, self.words_per_sequence, step=step))

    def evaluation_set(self, split: Split, size: int) -> Batch:
        """See `Task.evaluation_set`."""
        stream = Stream(self.settings.name, split)
        return self.sequences(stream.words(size, self.words_per_sequence))
