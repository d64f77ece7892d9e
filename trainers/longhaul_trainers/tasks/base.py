"""What every task is."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from longhaul_trainers.settings import Settings

Split = Literal["validation", "test"]

IGNORED = -100
"""The target of a step that the protocol does not count, as torch's cross entropy knows it."""


@dataclass(frozen=True)
class Score:
    """One published result.

    Attributes:
        model: the cell by its name in the literature and its size, ``expRNN, n = 170``.
        value: the number, in the unit of ``metric``.
        metric: ``accuracy`` (a share, not percent), ``loss``, ...
        setting: what else to set for it, as written in a space, ``permutation: protocol``.
        note: where the number is from, if not from the paper of the protocol, and what is odd.
    """

    model: str
    value: float
    metric: str = "accuracy"
    setting: str = ""
    note: str = ""


Better = Literal["lower", "higher"]

WITH_ACCURACY: Mapping[str, Better] = {"loss": "lower", "accuracy": "higher"}
"""`Task.better` of tasks that ask for classes."""


@dataclass(frozen=True)
class Solved:
    """When a task counts as solved.

    Attributes:
        metric: one of `Task.better`, or ``over_baseline``, the loss divided by the baseline.
        bound: what it must have come below, or above where higher is better.
        source: who says so.
    """

    metric: str
    bound: float
    source: str


@dataclass(frozen=True)
class Protocol:
    """A named variant of a task exactly as one paper ran it.

    Attributes:
        name: for example ``arjovsky-2016``.
        source: authors, title, venue, arXiv number.
        summary: what is particular about it, in one or two sentences.
        batch_size: sequences in a training batch, as published.
        steps: training steps, as published.
        defects: known faults of the published procedure, empty where there are none.
        published: what was reported under it, on the test set.
        selects_on_test: whether the published scores are the best on the test set over the epochs.
    """

    name: str
    source: str
    summary: str
    batch_size: int
    steps: int
    defects: str = ""
    published: tuple[Score, ...] = ()
    selects_on_test: bool = False


@dataclass(frozen=True)
class Batch:
    """Sequences of one trial, or of a pack once stacked.

    Attributes:
        inputs: float32 (T, B, I), or (T, P, B, I) for a pack.
        targets: (S, B) whole numbers or (S, B, O) numbers for the S steps that are read out, or
            with P before B for a pack. Targets that are `IGNORED`, or NaN where they are no whole
            numbers, are not counted: that is how sequences of different lengths are padded.
            Where a step asks K questions, whole numbers are (S, B, K).
    """

    inputs: Tensor
    targets: Tensor

    @staticmethod
    def stack(batches: Sequence["Batch"]) -> "Batch":
        """The batches of P trials as one pack's; that of a single one is not copied."""
        if len(batches) == 1:
            return Batch(batches[0].inputs.unsqueeze(1), batches[0].targets.unsqueeze(1))
        return Batch(
            torch.stack([batch.inputs for batch in batches], dim=1),
            torch.stack([batch.targets for batch in batches], dim=1),
        )

    def split(self, size: int) -> "Iterator[Batch]":
        """So many sequences after the other, in memory of their own."""
        parts = (part.split(size, 1) for part in (self.inputs, self.targets))
        for inputs, targets in zip(*parts, strict=True):
            yield Batch(inputs.contiguous(), targets.contiguous())

    def to(self, device: torch.device) -> "Batch":
        """The same batch on another device."""
        return Batch(self.inputs.to(device), self.targets.to(device))


class Task(ABC):
    """A benchmark: data, loss, metrics, trivial baseline.

    Training batch s of a trial depends on (task settings, data seed, s) alone. Validation and test
    sets depend on the task settings and their size alone. Where data is read from files, settings,
    sizes, protocols and baseline are known without them.

    Args:
        settings: an instance of ``settings_type``.
    """

    settings_type: ClassVar[type[Settings]]
    protocols: ClassVar[Mapping[str, Protocol]]
    """The protocols of this task by name."""
    reads: ClassVar[Literal["every", "last"]] = "every"
    """Whether the readout is applied at every time step or at the last one only."""
    same_everywhere: ClassVar[bool] = True
    """Whether sizes and baseline at the default settings are the same on every machine that has
    the data; not, for example, of a text that changes with the version of Python."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @property
    @abstractmethod
    def protocol(self) -> Protocol:
        """The protocol that the settings name."""

    @property
    @abstractmethod
    def input_size(self) -> int:
        """I."""

    @property
    @abstractmethod
    def output_size(self) -> int:
        """O, the width of the readout."""

    @property
    @abstractmethod
    def length(self) -> int:
        """T, time steps of one sequence."""

    @property
    @abstractmethod
    def baseline(self) -> float:
        """Expected loss of the best predictor that remembers nothing."""

    @property
    def baseline_metrics(self) -> dict[str, float]:
        """What a trivial predictor reaches on the test set, by names of `metrics`."""
        return {}

    @property
    def better(self) -> Mapping[str, Better]:
        """Which way each number that `summary` gives is better, by its name."""
        return {"loss": "lower"}

    @property
    def solved(self) -> Solved:
        """When the task counts as solved, unless a search says otherwise."""
        source = "no paper gives a number; a tenth of the trivial baseline"
        return Solved("over_baseline", 0.1, source)

    @property
    def training_size(self) -> int | None:
        """Sequences of the training set, passed epoch after epoch; None where all are new."""
        return None

    def prepare(self) -> None:  # noqa: B027 - most tasks have nothing to prepare
        """Makes the data ready on this machine, so that trials need not; nothing where it is drawn.

        Raises:
            DataError: a file is missing or cannot be used.
        """

    @property
    def carries_state(self) -> bool:
        """Whether sequence b of a training batch goes on where that of the step before ended.

        Then the cell's state after a step is where the next one begins, without a gradient,
        unless that one `starts_over`. Evaluation sets are whole: they begin at the initial state,
        and are read in pieces (`evaluation_pieces`).
        """
        return False

    def starts_over(self, step: int, batch_size: int) -> bool:
        """Whether the batch of this training step begins at the initial state."""
        return True

    @abstractmethod
    def training_batch(self, seed: int, step: int, batch_size: int) -> Batch:
        """The batch of training step ``step`` (the first is 0) of a trial with this data seed."""

    @abstractmethod
    def evaluation_set(self, split: Split, size: int) -> Batch:
        """``size`` fixed sequences; a larger set begins with a smaller one's sequences.

        Where the split holds fewer, all that it holds.
        """

    def evaluation_chunks(self, split: Split, size: int, sequences: int) -> Iterator[Batch]:
        """The sequences of `evaluation_set` in their order, some at a time.

        That is how a set is measured that is too large to be made at once; a task that does not
        say how makes it at once all the same.

        Args:
            split: which set.
            size: sequences of it.
            sequences: of each chunk but the last.
        """
        whole = self.evaluation_set(split, size)
        cut = zip(whole.inputs.split(sequences, 1), whole.targets.split(sequences, 1), strict=True)
        yield from (Batch(inputs, targets) for inputs, targets in cut)

    def evaluation_pieces(self, split: Split, size: int, steps: int) -> Iterator[Batch]:
        """The sequences of `evaluation_set` in pieces along time, for tasks that read every step.

        Args:
            split: which set.
            size: sequences of it.
            steps: time steps of each piece but the last.
        """
        whole = self.evaluation_set(split, size)
        cut = zip(whole.inputs.split(steps), whole.targets.split(steps), strict=True)
        yield from (Batch(inputs, targets) for inputs, targets in cut)

    @abstractmethod
    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean loss of one slot, a scalar.

        Args:
            outputs: readouts (S, B, O) of the S steps that are read.
            targets: as in `Batch`, without P.
        """

    def weight(self, targets: Tensor) -> int:
        """How much these sequences count in a mean over more of them: their number, or their steps.

        `loss` and `metrics` of two halves, weighted so, give those of the whole.

        Args:
            targets: as in `Batch`, without P.
        """
        return targets.shape[1]

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Further scalars of one slot, for example ``accuracy``; the arguments are `loss`'s."""
        return {}

    def summary(self, means: dict[str, Tensor]) -> dict[str, Tensor]:
        """What is reported of a whole set, for example the root of the mean squared error.

        Args:
            means: ``loss`` and what `metrics` gave, averaged over the set, of shape (P,).

        Returns:
            ``loss`` and further numbers, of shape (P,).
        """
        return means

    @abstractmethod
    def example(self) -> str:
        """One sequence and its targets as aligned lines of text, long dull stretches left out."""

    def evaluation_hash(self, split: Split, size: int) -> str:
        """SHA-256 of an evaluation set: shapes, inputs (float32) and targets, little endian."""
        # imported here: hashing is only ever asked for once a trial
        from longhaul_trainers.tasks.evaluation_hash import evaluation_hash

        return evaluation_hash(self, split, size)
