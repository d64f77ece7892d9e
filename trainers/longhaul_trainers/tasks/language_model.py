"""Language models of texts that are passed in lanes: which symbol comes next.

T time steps, B sequences, V symbols: characters, or words.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from longhaul_trainers.data.columns import Parts
from longhaul_trainers.data.data_set import DataSet
from longhaul_trainers.data.known import DATA_SETS
from longhaul_trainers.data.store import open_data
from longhaul_trainers.data.texts import pydoc_name
from longhaul_trainers.errors import UnusableDataError
from longhaul_trainers.settings import Settings, setting
from longhaul_trainers.tasks.base import WITH_ACCURACY, Batch, Better, Protocol, Split, Task
from longhaul_trainers.tasks.counted import accuracy, counted, cross_entropy
from longhaul_trainers.tasks.next_frame import Part
from longhaul_trainers.tasks.symbolic import one_hot_inputs

Codes = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class LanguageModelSettings(Settings):
    """Which text.

    ``pydoc`` becomes the name of the text that this Python has, with its version and hash.
    """

    text: str = setting(
        "pydoc",
        structural=True,
        searchable=False,
        help="ptb; pydoc, the help of this Python (always there); or a text file, absolute or in "
        "the folder LONGHAUL_DATA",
    )

    def __post_init__(self) -> None:
        """Gives the text that comes with Python its exact name."""
        if self.text == "pydoc":
            object.__setattr__(self, "text", pydoc_name())


@dataclass(frozen=True, kw_only=True)
class LanguageModelProtocol(Protocol):
    """A protocol of a language model.

    Attributes:
        length: symbols of one sequence, after which back-propagation is truncated.
        lanes: lanes of an evaluation set, where texts are passed in lanes.
    """

    length: int
    lanes: int = 0


@dataclass(frozen=True)
class TextSources:
    """Where the texts of a task come from.

    Attributes:
        treebank: name of the data set that is the text ``ptb``.
        pydoc: the data set of a text that comes with Python, from its exact name.
        own: that of a file.
    """

    treebank: str
    pydoc: Callable[[str], DataSet]
    own: Callable[[str], DataSet]

    def data_set(self, text: str) -> DataSet:
        """The data set of a text as the settings name it."""
        if text == "ptb":
            known: DataSet = DATA_SETS.get(self.treebank)
            return known
        return self.pydoc(text) if text.startswith("pydoc-") else self.own(text)


class LanguageModelTask(Task):
    """At each symbol of a text, the question which one comes next.

    A batch is the next T symbols of B lanes: lane b is the b-th of B equal parts of the text, and
    what fills no sequence at its end is left out. The state is carried on; after the last batch of
    an epoch, all lanes start over.
    """

    reads = "every"
    same_everywhere = False
    sources: ClassVar[TextSources]
    settings: Any
    """`LanguageModelSettings`; each task says which."""

    @property
    def text(self) -> str:
        """The name of the text."""
        text: str = self.settings.text
        return text

    @property
    def data_set(self) -> DataSet:
        """Where the text comes from."""
        return self.sources.data_set(self.text)

    @cached_property
    def parts(self) -> Parts:
        """The text as it was converted."""
        return open_data(self.data_set)

    @abstractmethod
    def codes(self, part: Part) -> NDArray[np.integer]:
        """The symbols of a part of the text."""

    @property
    @abstractmethod
    def protocol(self) -> LanguageModelProtocol:
        """See `Task.protocol`."""

    @property
    def lanes(self) -> int:
        """Lanes of an evaluation set."""
        return self.protocol.lanes

    @property
    def output_size(self) -> int:
        """V."""
        return self.input_size

    @property
    def baseline(self) -> float:
        """Nats a symbol on the test text where each has its share of the training text.

        The shares are (n_v + 1) / (n + V), so that none is impossible.
        """
        return self.unigram

    @property
    def carries_state(self) -> bool:
        """See `Task.carries_state`."""
        return True

    def starts_over(self, step: int, batch_size: int) -> bool:
        """See `Task.starts_over`."""
        return not self.carries_state or step % self.batches_of_lanes(batch_size) == 0

    def training_batch(self, seed: int, step: int, batch_size: int) -> Batch:
        """See `Task.training_batch`; lanes are the same for every seed."""
        at = step % self.batches_of_lanes(batch_size)
        lane = len(self.codes("train")) // batch_size
        return self.cut("train", np.arange(batch_size) * lane + at * self.length, self.length)

    def evaluation_set(self, split: Split, size: int) -> Batch:
        """See `Task.evaluation_set`: lanes, each passed from its first symbol to its last."""
        return next(self.evaluation_pieces(split, size, len(self.codes(split))))

    def evaluation_pieces(self, split: Split, size: int, steps: int) -> Iterator[Batch]:
        """See `Task.evaluation_pieces`; no more than one piece is made at once."""
        lane = len(self.codes(split)) // self.lanes
        if lane < 2:
            raise self.too_short(f"{self.lanes} lanes of its {split} part ask nothing")
        starts = np.arange(min(size, self.lanes)) * lane
        for first in range(0, lane - 1, steps):
            yield self.cut(split, starts + first, min(steps, lane - 1 - first))

    def weight(self, targets: Tensor) -> int:
        """The number of symbols that are asked for."""
        return int(counted(targets).sum())

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean cross entropy in nats over all symbols asked for; logits (T, B, V)."""
        return cross_entropy(outputs, targets)

    @property
    def better(self) -> Mapping[str, Better]:
        """See `Task.better`."""
        return WITH_ACCURACY

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """``accuracy``: share of the symbols that the largest logit names."""
        return {"accuracy": accuracy(outputs, targets)}

    @cached_property
    def unigram(self) -> float:
        """See `baseline`."""
        shares = np.bincount(self.asked("train"), minlength=self.input_size) + 1
        costs = -np.log(shares / shares.sum())
        return float(costs[self.asked("test")].mean())

    def asked(self, part: Part) -> Codes:
        """All symbols of a part that are asked for; of the test text, in its evaluation set."""
        codes = self.codes(part)
        if part == "train":
            return codes[1:].astype(np.int64)
        lane = len(codes) // self.lanes
        return codes[: lane * self.lanes].reshape(-1, lane)[:, 1:].ravel().astype(np.int64)

    def batches_of_lanes(self, lanes: int) -> int:
        """Batches of an epoch."""
        found = (len(self.codes("train")) // lanes - 1) // self.length
        if found < 1:
            raise self.too_short(f"no sequence for each of {lanes} lanes")
        return found

    def cut(self, part: Part, starts: Codes, steps: int) -> Batch:
        """Sequences of equal length that begin at ``starts``."""
        found = self.codes(part)[starts[:, None] + np.arange(steps + 1)].T.astype(np.int64)
        return Batch(one_hot_inputs(found[:-1], self.input_size), torch.from_numpy(found[1:]))

    def too_short(self, problem: str) -> UnusableDataError:
        """What is said of a text that is not long enough."""
        return UnusableDataError(
            f"the text {self.text!r} is not usable for task {self.settings.name} under protocol "
            f"{self.protocol.name}: {problem}"
        )
