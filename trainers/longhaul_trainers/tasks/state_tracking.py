"""State tracking: short strings in training, longer ones in evaluation.

B sequences, T time steps.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Final, Literal, final

import numpy as np
import torch

from longhaul_trainers.counter import Stream, Words, integers
from longhaul_trainers.errors import SettingError
from longhaul_trainers.settings import Settings, setting
from longhaul_trainers.tasks.base import IGNORED, Batch, Protocol, Solved
from longhaul_trainers.tasks.languages import LANGUAGES, Language
from longhaul_trainers.tasks.rows import aligned, ends
from longhaul_trainers.tasks.symbolic import SymbolicTask


@dataclass(frozen=True, kw_only=True)
class StateTrackingProtocol(Protocol):
    """A protocol of the state tracking task.

    Attributes:
        asks: whether a question mark follows every string, at which the answer is due; else it is
            due at the last symbol, except in arithmetic, whose strings end with an equals sign.
        shortest: the length of the shortest strings of the training.
        longest: the length of the longest strings of the evaluation.
        counts_answer: whether lengths, as published, count the answer as a symbol, too.
        above: by how much the shortest strings of the evaluation are longer than the longest of
            the training.
    """

    asks: bool
    shortest: int
    longest: int
    counts_answer: bool
    above: int


ProtocolName = Literal["beck-2024", "deletang-2023"]

_PROTOCOLS = (
    StateTrackingProtocol(
        name="beck-2024",
        source="Beck, Pöppel, Spanring, Auer, Prudnikova, Kopp, Klambauer, Brandstetter, "
        "Hochreiter: xLSTM: Extended Long Short-Term Memory, NeurIPS 2024, arXiv:2405.04517; code "
        "NX-AI/xlstm",
        summary="Lengths 3 to 40 in training, 40 to 256 in validation and test, the answer "
        "counted; it is due at the last symbol, and nothing else tells that a string is over.",
        batch_size=256,
        steps=20_000,
        defects="Only the configuration for parity is published: the circle's five places and the "
        "modulus five are from deletang-2023. Their readout has an entry for every symbol, here "
        "for every answer. Validation has the lengths of the test, so weights and settings are "
        "chosen for them. Length 40 is in training and evaluation. Their runs on parity warm up "
        "and decay the learning rate.",
        asks=False,
        shortest=3,
        longest=256,
        counts_answer=True,
        above=0,
    ),
    StateTrackingProtocol(
        name="deletang-2023",
        source="Delétang, Ruoss, Grau-Moya, Genewein, Wenliang, Catt, Cundy, Hutter, Legg, Veness, "
        "Ortega: Neural Networks and the Chomsky Hierarchy, ICLR 2023, arXiv:2207.02098; code "
        "google-deepmind/neural_networks_chomsky_hierarchy",
        summary="Lengths 1 to 40 in training, 41 to 500 in evaluation; the answer is due at a "
        "question mark after the string.",
        batch_size=128,
        steps=1_000_000,
        defects="Steps, the longest strings and how scores were selected are from memory; the "
        "example in their program has 10,000 steps and lengths up to 100. All strings of one of "
        "their batches have one length; here each has its own. They report the best score on the "
        "test lengths over seeds and learning rates, without validation; here validation has the "
        "lengths of the test.",
        asks=True,
        shortest=1,
        longest=500,
        counts_answer=False,
        above=1,
    ),
)

PROTOCOLS: Final = {protocol.name: protocol for protocol in _PROTOCOLS}


@dataclass(frozen=True, kw_only=True)
class StateTrackingSettings(Settings):
    """Which state tracking task."""

    name: ClassVar[str] = "state_tracking"

    protocol: ProtocolName = setting(
        "beck-2024",
        structural=True,
        searchable=False,
        help="lengths and where the answer is due, as a paper had it",
    )
    language: Literal["cycle_navigation", "even_pairs", "modular_arithmetic", "parity"] = setting(
        "parity", structural=True, searchable=False, help="what is asked of a string"
    )
    length: int = setting(
        40,
        ge=1,
        structural=True,
        searchable=False,
        help="the longest strings of the training, as the protocol counts",
    )
    evaluation_length: int | None = setting(
        None,
        ge=2,
        structural=True,
        searchable=False,
        help="the longest strings of validation and test; null for the protocol's",
    )

    def check(self) -> None:
        """Refuses lengths without any string."""
        protocol = PROTOCOLS[self.protocol]
        if self.length < protocol.shortest:
            problem = f"{self.protocol} needs at least {protocol.shortest}, found {self.length}"
            raise SettingError("length", problem)
        longest = self.evaluation_length or protocol.longest
        if longest <= self.length:
            problem = f"expected a number > length {self.length}, found {longest}"
            raise SettingError("evaluation_length", problem)


@final
class StateTracking(SymbolicTask):
    """The state of a finite automaton after a string, at lengths that the training never had.

    With the language ``parity`` (a dash is a step that is not counted)::

        input   1 0 0 1 1 0
        target  - - - - - 1

    The answer is due once for each string: after it, or at its end, as the protocol has it. All
    training batches have T steps, all evaluation sets `evaluation_steps`; a shorter string begins
    at the first step, and after its answer inputs are zeros and targets `IGNORED`, so that nothing
    there changes loss or accuracy. Inputs are one-hot, symbols and then the question mark, if it
    comes. Targets are (T, B).

    ``cycle_navigation``: the place on a circle of five after steps of 0, +1, -1. ``even_pairs``:
    whether the number of neighbours that differ is odd. ``modular_arithmetic``: +, - and * of
    digits modulo 5, products first. ``parity``: whether the number of ones is odd.

    Reference: the protocols'.
    """

    settings_type = StateTrackingSettings
    protocols: ClassVar[Mapping[str, Protocol]] = PROTOCOLS
    reads = "every"
    settings: StateTrackingSettings

    @property
    def protocol(self) -> StateTrackingProtocol:
        """See `Task.protocol`."""
        return PROTOCOLS[self.settings.protocol]

    @property
    def language(self) -> Language:
        """The strings and their answers."""
        return LANGUAGES[self.settings.language]

    @property
    def asks(self) -> bool:
        """Whether a question mark, or an equals sign, follows each string."""
        return self.protocol.asks or self._alternates

    @property
    def input_size(self) -> int:
        """The symbols, and the question mark if it comes."""
        return len(self.language.symbols) + self.asks

    @property
    def output_size(self) -> int:
        """The answers."""
        return self.language.answers

    @property
    def length(self) -> int:
        """T of the training batches."""
        return self._steps(self.settings.length)

    @property
    def evaluation_steps(self) -> int:
        """T of the validation and test sets."""
        return self._steps(self._longest)

    @property
    def baseline(self) -> float:
        """The mean over the training's strings of the entropy of an answer, given the length.

        That is the best a predictor can do that knows where a string ends, but none of its
        symbols: ln 2 for parity; a little less than ln 5 on the circle and in arithmetic, where
        short strings do not reach all answers alike. For the longer strings of the evaluation it
        is nearer to ln 5.
        """
        return self._baseline

    @cached_property
    def _baseline(self) -> float:
        lengths = self.string_lengths(self.protocol.shortest, self.settings.length)
        odds = self.language.odds(max(lengths))
        return float(np.mean([_entropy(odds[n - 1]) for n in lengths]))

    @property
    def solved(self) -> Solved:
        """Nine in ten right, from which on Delétang et al. 2023 call a task solved."""
        return Solved("accuracy", 0.9, "Delétang et al. 2023, arXiv:2207.02098")

    @property
    def words_per_sequence(self) -> int:
        """One for the length and one for each symbol of the longest string."""
        return 1 + self.length

    def string_lengths(self, shortest: int, longest: int) -> list[int]:
        """The equally likely numbers of symbols, without question mark or equals sign.

        Args:
            shortest: the least length, as the protocol counts.
            longest: the greatest length, as the protocol counts.
        """
        if not self._alternates:
            return [n - self.protocol.counts_answer for n in range(shortest, longest + 1)]
        if self.protocol.counts_answer:
            # Odd lengths, equals sign and answer counted; an even shortest one is lowered.
            halves = range((shortest + 1) // 2, (longest + 1) // 2 + 1)
            return [2 * half - 3 for half in halves]
        # An even length is lowered by one, so that a string ends with a digit.
        return [n - (n % 2 == 0) for n in range(shortest, longest + 1)]

    def drawn(self, words: Words) -> Batch:
        """See `SyntheticTask.drawn`."""
        return self._batch(words, self.string_lengths(self.protocol.shortest, self.settings.length))

    def evaluation_sequences(self, stream: Stream, rows: int, first: int) -> Batch:
        """The strings are longer than in training, and so is T: `evaluation_steps`."""
        words = stream.words(rows, 1 + self.evaluation_steps, first_row=first)
        return self.shown(self._batch(words, self.evaluation_lengths))

    @cached_property
    def evaluation_lengths(self) -> list[int]:
        """The numbers of symbols of the evaluation's strings, as `string_lengths`."""
        return self.string_lengths(self.settings.length + self.protocol.above, self._longest)

    def example(self) -> str:
        """See `Task.example`."""
        batch = self.training_batch(0, 0, 1)
        marks = [*self.language.symbols, "="] if self._alternates else [*self.language.symbols, "?"]
        codes, targets = batch.inputs[:, 0], batch.targets[:, 0].tolist()
        rows = {
            "input": [marks[int(one.argmax())] if one.any() else "" for one in codes],
            "target": ["-" if target == IGNORED else str(target) for target in targets],
        }
        due = max(t for t in range(self.length) if targets[t] != IGNORED)
        shown = ends(self.length, 16, 2) | set(range(due - 8, due + 2))
        size = f"{self.length} steps, {self.evaluation_steps} in evaluation"
        return "\n".join([*aligned(rows, shown), f"(- not counted; {size})"])

    @property
    def _alternates(self) -> bool:
        return self.settings.language == "modular_arithmetic"

    @property
    def _longest(self) -> int:
        return self.settings.evaluation_length or self.protocol.longest

    def _steps(self, length: int) -> int:
        return length - 1 if self.protocol.counts_answer else length + 1

    def _batch(self, words: Words, lengths: list[int]) -> Batch:
        size, steps = words.shape[0], words.shape[1] - 1
        symbols = np.array(lengths)[integers(words[:, 0], len(lengths))]
        codes = self.language.strings(words[:, 1:])
        row = np.arange(size)
        answers = self.language.answer(codes)[row, symbols - 1]
        # A code beyond the inputs is a row of zeros.
        codes[np.arange(steps) >= symbols[:, None]] = self.input_size
        due = symbols - 1
        if self.asks:
            due = symbols
            codes[row, due] = self.input_size - 1
        targets = torch.full((steps, size), IGNORED, dtype=torch.int64)
        targets[due, row] = torch.from_numpy(answers)
        return Batch(torch.from_numpy(np.ascontiguousarray(codes.T)), targets)


def _entropy(odds: np.ndarray) -> float:
    positive = odds[odds > 0]
    return float(-(positive * np.log(positive)).sum())
