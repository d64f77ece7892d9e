"""Random nested operations on digits, many trees at once, level by level.

A tree is a digit, or one of four operations on 2 or more trees. What is drawn for a node depends on
its block, its level and its place there alone, so every block is the same wherever it is drawn.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from longhaul_trainers.counter import Stream, Words, integers
from longhaul_trainers.errors import SettingError

Numbers = NDArray[np.int64]

MIN, MAX, MED, SM, CLOSE = range(10, 15)
"""Codes of what is no digit: minimum, maximum, median, sum modulo 10, the end of any of them."""
OPERATIONS: Final = 4
LEAST_ARGUMENTS: Final = 2

ATTEMPTS: Final = 2**13
"""Trees in a block; most are too short or too long and dropped."""
_LEVELS: Final = 64
_PATIENCE: Final = 100


@dataclass(frozen=True)
class Rules:
    """Which trees are wanted.

    Attributes:
        max_depth: levels of a tree at most; those on the last are all digits.
        max_arguments: of one operation.
        min_length, max_length: a tree has more symbols than the one and fewer than the other.
    """

    max_depth: int
    max_arguments: int
    min_length: int
    max_length: int


@dataclass(frozen=True)
class Trees:
    """Trees written as symbols.

    Attributes:
        symbols: codes 0 ... 14 of all trees, one behind the other.
        offsets: where each begins, and where the last ends, (N + 1,).
        values: what each comes to, 0 ... 9, (N,).
    """

    symbols: NDArray[np.uint8]
    offsets: Numbers
    values: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        """The symbols of one tree."""
        return self.symbols[self.offsets[index] : self.offsets[index + 1]]

    def digests(self) -> list[bytes]:
        """For each tree 16 bytes that no other tree has."""
        return [
            hashlib.blake2b(self[i].tobytes(), digest_size=16).digest() for i in range(len(self))
        ]

    @staticmethod
    def joined(parts: "list[Trees]") -> "Trees":
        """All trees of some, in their order."""
        lengths = np.concatenate([np.diff(part.offsets) for part in parts])
        return Trees(
            np.concatenate([part.symbols for part in parts]),
            np.concatenate([[0], np.cumsum(lengths)]),
            np.concatenate([part.values for part in parts]),
        )

    def chosen(self, indices: list[int]) -> "Trees":
        """Some of the trees, in the order of their indices."""
        lengths = np.diff(self.offsets)[indices]
        pieces = [self[i] for i in indices]
        symbols = np.concatenate(pieces) if pieces else self.symbols[:0]
        return Trees(symbols, np.concatenate([[0], np.cumsum(lengths)]), self.values[indices])


def different_trees(
    stream: Stream, size: int, rules: Rules, *, besides: frozenset[bytes] = frozenset()
) -> Trees:
    """The first ``size`` trees of a stream, without those that came before.

    Args:
        stream: where they are drawn.
        size: how many.
        rules: which.
        besides: digests of trees that are left out too.

    Raises:
        SettingError: there seem to be no more different trees.
    """
    seen = set(besides)
    parts = [draw_trees(stream, 0, rules, attempts=0)]
    found = barren = block = 0
    while found < size:
        drawn = draw_trees(stream, block, rules)
        fresh = list(_first_seen(drawn, seen))[: size - found]
        parts.append(drawn.chosen(fresh))
        found += len(fresh)
        barren = 0 if fresh else barren + 1
        block += 1
        if barren == _PATIENCE:
            problem = f"found only {found} different trees of these lengths, not {size}"
            raise SettingError("max_length", problem)
    return Trees.joined(parts)


def draw_trees(stream: Stream, block: int, rules: Rules, *, attempts: int = ATTEMPTS) -> Trees:
    """Those trees of a block that the rules want, repetitions and all."""
    levels = _drawn_levels(stream, block, rules, attempts)
    sizes = _sizes(levels)
    keep = (sizes[0] > rules.min_length) & (sizes[0] < rules.max_length)
    kept, kept_sizes = [], []
    for level, size in zip(levels, sizes, strict=True):
        kept.append(level.only(keep))
        kept_sizes.append(size[keep])
        keep = np.repeat(keep[level.branches], level.arguments)
    symbols = [level.symbols() for level in kept]
    values = _values(kept, symbols)
    written, offsets = _written(kept, symbols, kept_sizes)
    return Trees(written, offsets, values.astype(np.uint8))


@dataclass(frozen=True)
class _Level:
    """The nodes of one level; the children of each operation stand together on the next.

    Attributes:
        words: what the digits are made of, (N,).
        branches: which nodes are operations, (N,).
        operations: their codes.
        arguments: how many children each of them has.
    """

    words: Words
    branches: NDArray[np.bool_]
    operations: Numbers
    arguments: Numbers

    def only(self, keep: NDArray[np.bool_]) -> "_Level":
        kept = keep[self.branches]
        return _Level(
            self.words[keep], self.branches[keep], self.operations[kept], self.arguments[kept]
        )

    def symbols(self) -> Numbers:
        """Codes of all nodes."""
        symbols = integers(self.words, 10)
        symbols[self.branches] = self.operations
        return symbols

    def first_children(self) -> Numbers:
        """Where the children of each operation begin on the next level."""
        return np.cumsum(self.arguments) - self.arguments


def _drawn_levels(stream: Stream, block: int, rules: Rules, attempts: int) -> list[_Level]:
    levels: list[_Level] = []
    nodes = attempts
    choices = rules.max_arguments - LEAST_ARGUMENTS + 1
    for depth in range(rules.max_depth):
        words: Words = stream.words(nodes, 1, step=block * _LEVELS + depth)[:, 0]
        # Two bits say whether it is an operation, one time in four; the others, which.
        branches = (words >> np.uint64(62)) == 0
        if depth == rules.max_depth - 1:
            branches[:] = False
        rest = words << np.uint64(2)
        operation, extra = np.divmod(integers(rest[branches], OPERATIONS * choices), choices)
        levels.append(_Level(rest, branches, MIN + operation, LEAST_ARGUMENTS + extra))
        nodes = int(levels[-1].arguments.sum())
    return levels


def _sizes(levels: list[_Level]) -> list[Numbers]:
    """Symbols of the tree at each node of each level."""
    sizes: list[Numbers] = []
    below = np.zeros(0, dtype=np.int64)
    for level in reversed(levels):
        size = np.ones(len(level.words), dtype=np.int64)
        if len(level.arguments):
            size[level.branches] = 2 + np.add.reduceat(below, level.first_children())
        sizes.append(size)
        below = size
    return sizes[::-1]


def _values(levels: list[_Level], written: list[Numbers]) -> Numbers:
    """What each tree comes to, given the symbols of all nodes."""
    below = np.zeros(0, dtype=np.int64)
    for level, symbols in zip(reversed(levels), reversed(written), strict=True):
        value = symbols.copy()
        if len(level.arguments):
            value[level.branches] = _applied(level.operations, level.arguments, below)
        below = value
    return below


def _applied(operations: Numbers, arguments: Numbers, values: Numbers) -> Numbers:
    """Operations on as many of the values, one after the other, as each has arguments."""
    first = np.cumsum(arguments) - arguments
    results = np.choose(
        operations - MIN,
        [
            np.minimum.reduceat(values, first),
            np.maximum.reduceat(values, first),
            np.zeros_like(first),
            np.add.reduceat(values, first) % 10,
        ],
    )
    medians = operations == MED
    results[medians] = _medians(values, first[medians], arguments[medians])
    return results


def _medians(values: Numbers, first: Numbers, counts: Numbers) -> Numbers:
    """Medians, rounded down where two values are in the middle, as ``int(numpy.median(...))``."""
    if not len(first):
        return first
    columns = np.arange(counts.max())
    missing = columns >= counts[:, None]
    places = np.where(missing, 0, first[:, None] + columns)
    # What is missing stands behind all digits.
    rows = np.sort(np.where(missing, 10, values[places]).astype(np.uint8), axis=1).astype(np.int64)
    row = np.arange(len(rows))
    return (rows[row, (counts - 1) // 2] + rows[row, counts // 2]) // 2


def _written(
    levels: list[_Level], symbols: list[Numbers], sizes: list[Numbers]
) -> tuple[NDArray[np.uint8], Numbers]:
    """All trees as symbols, and where each begins and the last ends."""
    offsets = np.concatenate([[0], np.cumsum(sizes[0])])
    written = np.empty(offsets[-1], dtype=np.uint8)
    starts = offsets[:-1]
    for depth, level in enumerate(levels):
        written[starts] = symbols[depth]
        opened = starts[level.branches]
        written[opened + sizes[depth][level.branches] - 1] = CLOSE
        if depth + 1 == len(levels):
            break
        below = sizes[depth + 1]
        before = np.cumsum(below) - below
        shift = opened + 1 - before[level.first_children()] if len(opened) else opened
        starts = before + np.repeat(shift, level.arguments)
    return written, offsets


def _first_seen(trees: Trees, seen: set[bytes]) -> Iterator[int]:
    for index, digest in enumerate(trees.digests()):
        if digest not in seen:
            seen.add(digest)
            yield index
