"""ListOps: what do nested operations on digits come to?

B sequences, T time steps.
"""

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass
from functools import cached_property, lru_cache
from typing import ClassVar, Final, Literal, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from longhaul_trainers.counter import Stream
from longhaul_trainers.data.columns import Parts, Ragged, numbers
from longhaul_trainers.data.drawn import drawn_once
from longhaul_trainers.errors import SettingError
from longhaul_trainers.settings import setting
from longhaul_trainers.tasks.base import WITH_ACCURACY, Batch, Better, Protocol, Score, Split, Task
from longhaul_trainers.tasks.counted import accuracy, cross_entropy
from longhaul_trainers.tasks.epochs import EpochOrder
from longhaul_trainers.tasks.listops_trees import Rules, Trees, different_trees
from longhaul_trainers.tasks.symbolic import one_hot_inputs
from longhaul_trainers.tasks.synthetic import FiniteProtocol, FiniteSettings

SYMBOLS: Final = (
    "0",
    "1",
    "2",
    "3",
    "4",
    "5",
    "6",
    "7",
    "8",
    "9",
    "[MIN",
    "[MAX",
    "[MED",
    "[SM",
    "]",
)
PADDING: Final = len(SYMBOLS)
CLASSES: Final = 10
PUBLISHED_RULES: Final = Rules(max_depth=10, max_arguments=10, min_length=500, max_length=2000)
SHARES: Final = (
    0.16912, 0.0908, 0.07719, 0.08305, 0.08951, 0.08663, 0.0766, 0.07175, 0.08736, 0.16799
)  # fmt: skip
"""How often each digit is the answer under the published rules, in 928,041 trees."""

EVALUATED: Final = 2000
"""Sequences to validate and to test, each."""
_VERSION: Final = 1
_KEPT_FROM: Final = 2**24
"""Symbols, at most, in a training set that is drawn anew each time."""
_SAMPLE: Final = 20_000
_OFFICIAL: Final = "on the official split; from memory, not checked against the paper"

_SOURCE: Final = (
    "Tay, Dehghani, Abnar, Shen, Bahri, Pham, Rao, Yang, Ruder, Metzler: Long Range Arena: A "
    "Benchmark for Efficient Transformers, ICLR 2021, arXiv:2011.04006, after Nangia, Bowman: "
    "ListOps, 2018, arXiv:1804.06028; code google-research/long-range-arena"
)
_DEFECTS: Final = (
    "Drawn anew by their rules, de-duplicated over all three sets: not the official split, whose "
    "generator has no seed and cuts a set in an order that depends on the hashing of texts, so no "
    "one can draw it again. Report it as listops-regenerated. They pad at the end and read a class "
    "token or a mean over time; here padding is in front and the last step is read, the end of "
    "the outermost operation. The median of an even number of arguments is rounded down. "
    "The first version of their input pipeline lost every closing bracket."
)

_PROTOCOLS: Final = (
    FiniteProtocol(
        name="listops-regenerated",
        source=_SOURCE,
        summary="Depth and arguments up to 10, more than 500 and fewer than 2,000 symbols; 96,000 "
        "sequences to train, 2,000 each to validate and test; the short training of the arena.",
        batch_size=32,
        steps=5000,
        defects=_DEFECTS,
        published=(Score("Transformer", 0.3637, note=_OFFICIAL),),
        training_size=96_000,
        validation_size=EVALUATED,
        test_size=EVALUATED,
    ),
    FiniteProtocol(
        name="listops-regenerated-long",
        source=_SOURCE + "; training of state-spaces/s4",
        summary="As listops-regenerated, trained for 40 epochs as S4 was.",
        batch_size=32,
        steps=120_000,
        defects=_DEFECTS,
        published=(
            Score("S4, 6 layers", 0.595, note="on the official split; from their repository"),
            Score("LRU, 6 layers", 0.602, note=_OFFICIAL),
        ),
        training_size=96_000,
        validation_size=EVALUATED,
        test_size=EVALUATED,
    ),
)

PROTOCOLS: Final = {protocol.name: protocol for protocol in _PROTOCOLS}


@dataclass(frozen=True, kw_only=True)
class ListOpsSettings(FiniteSettings):
    """Which trees."""

    name: ClassVar[str] = "listops"

    protocol: Literal["listops-regenerated", "listops-regenerated-long"] = setting(
        "listops-regenerated", structural=True, searchable=False, help="sizes and training"
    )
    max_depth: int = setting(
        10, ge=2, le=30, structural=True, searchable=False, help="levels of nested operations"
    )
    max_arguments: int = setting(
        10, ge=2, le=100, structural=True, searchable=False, help="of one operation"
    )
    min_length: int = setting(
        500, ge=0, structural=True, searchable=False, help="a sequence has more symbols than this"
    )
    max_length: int = setting(
        2000, ge=2, structural=True, searchable=False, help="a sequence has fewer symbols than this"
    )

    def check(self) -> None:
        """Refuses bounds between which there is no tree."""
        if self.max_length < self.min_length + 2:
            problem = f"must be at least min_length + 2, {self.min_length + 2}"
            raise SettingError("max_length", f"{problem}, found {self.max_length}")

    @property
    def rules(self) -> Rules:
        """As the generator takes them."""
        return Rules(self.max_depth, self.max_arguments, self.min_length, self.max_length)


@final
class ListOps(Task):
    """Nested minima, maxima, medians and sums modulo 10 of digits; the result is asked at the end.

    For example (a dot is padding)::

        input   . . . [MAX 2 9 [MIN 4 7 ] 0 ]
        target                              9

    Inputs are one-hot, (T, B, 16): digits, four operations, the bracket that ends one, padding.
    The target is (1, B), 0 ... 9, at the last step.

    Reference: Nangia and Bowman (2018) in the form of Tay et al. (2021), arXiv:2011.04006.
    """

    settings_type = ListOpsSettings
    protocols: ClassVar[Mapping[str, Protocol]] = PROTOCOLS
    reads = "last"
    settings: ListOpsSettings

    @property
    def protocol(self) -> FiniteProtocol:
        """See `Task.protocol`."""
        return PROTOCOLS[self.settings.protocol]

    @property
    def input_size(self) -> int:
        """16."""
        return PADDING + 1

    @property
    def output_size(self) -> int:
        """10."""
        return CLASSES

    @property
    def length(self) -> int:
        """T, the longest sequence there can be."""
        return self.settings.max_length - 1

    @property
    def training_size(self) -> int:
        """Sequences in the training set."""
        return self.settings.training_size or self.protocol.training_size

    @property
    def baseline(self) -> float:
        """The entropy of the answers: 0 and 9 are the most frequent, for minima and maxima.

        It is that of 928,041 trees under the published rules, else of the trees of a sample.
        """
        return -math.fsum(share * math.log(share) for share in self._shares if share > 0)

    @property
    def baseline_metrics(self) -> dict[str, float]:
        """``accuracy`` of always giving the most frequent answer."""
        return {"accuracy": max(self._shares)}

    def prepare(self) -> None:
        """Draws the training set, once on each machine; seconds, under the published rules."""
        _training_set(self.settings.rules, self.training_size)

    def training_batch(self, seed: int, step: int, batch_size: int) -> Batch:
        """See `Task.training_batch`."""
        return self._batch(self._training, self._order.batch(seed, step, batch_size).tolist())

    def evaluation_set(self, split: Split, size: int) -> Batch:
        """See `Task.evaluation_set`; at most as many as the protocol has."""
        return next(self.evaluation_chunks(split, size, size))

    def evaluation_chunks(self, split: Split, size: int, sequences: int) -> Iterator[Batch]:
        """See `Task.evaluation_chunks`."""
        trees = _evaluation_trees(self.settings.rules)[split]
        chosen = range(min(size, len(trees)))
        for first in chosen[::sequences]:
            yield self._batch(trees, list(chosen[first : first + sequences]))

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean cross entropy in nats, for logits (1, B, 10) and answers (1, B)."""
        return cross_entropy(outputs, targets)

    @property
    def better(self) -> Mapping[str, Better]:
        """See `Task.better`."""
        return WITH_ACCURACY

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """``accuracy``: share of the sequences whose result the largest logit names."""
        return {"accuracy": accuracy(outputs, targets)}

    def example(self) -> str:
        """See `Task.example`."""
        trees = _evaluation_trees(self.settings.rules)["validation"]
        symbols = [SYMBOLS[code] for code in trees[0].tolist()]
        shown = symbols if len(symbols) <= 16 else [*symbols[:9], "…", *symbols[-6:]]
        answer = str(trees.values[0])
        inputs = " ".join(shown)
        return "\n".join(
            [
                f"input   {inputs}",
                f"target  {answer.rjust(len(inputs))}",
                f"({len(symbols)} symbols, after padding to {self.length} steps)",
            ]
        )

    @property
    def _shares(self) -> tuple[float, ...]:
        if self.settings.rules == PUBLISHED_RULES:
            return SHARES
        counts = np.bincount(_sample(self.settings.rules).values, minlength=CLASSES)
        return tuple((counts / counts.sum()).tolist())

    @property
    def _training(self) -> Trees:
        return _training_set(self.settings.rules, self.training_size)

    @cached_property
    def _order(self) -> EpochOrder:
        return EpochOrder(self.training_size, self.settings.name)

    def _batch(self, trees: Trees, indices: list[int]) -> Batch:
        codes = np.full((self.length, len(indices)), PADDING, dtype=np.int64)
        for column, index in enumerate(indices):
            symbols = trees[index]
            codes[self.length - len(symbols) :, column] = symbols
        answers = torch.from_numpy(trees.values[indices].astype(np.int64))
        return Batch(one_hot_inputs(codes, self.input_size), answers.unsqueeze(0))


@lru_cache(maxsize=2)
def _evaluation_trees(rules: Rules) -> Mapping[Split, Trees]:
    test = _drawn("test", EVALUATED, rules)
    return {"test": test, "validation": _drawn("validation", EVALUATED, rules, test)}


@lru_cache(maxsize=2)
def _training_set(rules: Rules, size: int) -> Trees:
    """Kept from one trial to the next, and on disk where it took long."""

    def draw() -> Trees:
        return _drawn("training set", size, rules, *_evaluation_trees(rules).values())

    if size * rules.max_length < _KEPT_FROM:
        return draw()
    key = hashlib.sha256(repr((_VERSION, size, *astuple(rules))).encode()).hexdigest()
    return _trees(drawn_once(f"listops-drawn-{key[:16]}", lambda: _parts(draw())))


@lru_cache(maxsize=2)
def _sample(rules: Rules) -> Trees:
    return _drawn("baseline", _SAMPLE, rules)


def _drawn(label: str, size: int, rules: Rules, *besides: Trees) -> Trees:
    digests = frozenset(digest for trees in besides for digest in trees.digests())
    stream = Stream(ListOpsSettings.name, label)
    return different_trees(stream, size, rules, besides=digests)


def _parts(trees: Trees) -> Parts:
    symbols = Ragged(trees.symbols, trees.offsets)
    return {"training": {"symbols": symbols, "value": trees.values}}


def _trees(parts: Parts) -> Trees:
    table = parts["training"]
    symbols = table["symbols"]
    if not isinstance(symbols, Ragged):
        raise TypeError("symbols are of different lengths, and were not kept so")
    values = numbers(table, "value")
    return Trees(_bytes(symbols.values), symbols.offsets, _bytes(values))


def _bytes(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    return values.astype(np.uint8, copy=False)
