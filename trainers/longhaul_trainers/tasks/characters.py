"""A language model of characters: which one comes next.

T time steps, B sequences, V symbols.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from longhaul_trainers.counter import Stream, integers
from longhaul_trainers.data.texts import PTB_SYMBOLS, characters_of, own_text, pydoc_text
from longhaul_trainers.settings import setting
from longhaul_trainers.tasks.base import (
    IGNORED,
    WITH_ACCURACY,
    Batch,
    Better,
    Protocol,
    Split,
    Task,
)
from longhaul_trainers.tasks.character_protocols import (
    PROTOCOLS,
    CharactersProtocol,
    ProtocolName,
)
from longhaul_trainers.tasks.counted import counted
from longhaul_trainers.tasks.epochs import EpochOrder, permutation
from longhaul_trainers.tasks.language_model import (
    Codes,
    LanguageModelSettings,
    LanguageModelTask,
    TextSources,
)
from longhaul_trainers.tasks.next_frame import Part
from longhaul_trainers.tasks.rows import aligned
from longhaul_trainers.tasks.stretches import Stretches
from longhaul_trainers.tasks.symbolic import one_hot_inputs

_SHOWN = 40
_PTB_UNIGRAM_BITS = 4.346
_LINE_FEED = ord("\n")


@dataclass(frozen=True, kw_only=True)
class CharactersSettings(LanguageModelSettings):
    """Which text, and how it is passed."""

    name: ClassVar[str] = "characters"

    protocol: ProtocolName = setting(
        "windows", structural=True, searchable=False, help="how the text is cut and passed"
    )
    length: int | None = setting(
        None,
        ge=2,
        structural=True,
        searchable=False,
        help="characters of a sequence, of a line the most; null: as the protocol published",
    )


@final
class Characters(LanguageModelTask):
    """A text, one character a step, and at each the question which one comes next.

    Inputs are one-hot, (T, B, V). Targets are (T, B), the symbol of the step after. The loss is the
    mean cross entropy in nats; ``bits_per_character`` is the same in bits. The symbols are those of
    all three parts of the text.

    A batch is B windows of the text, B lines, or, where the state is carried on, the next T
    characters of B lanes: lane b is the b-th of B equal parts of the text, and what fills no
    sequence at its end is left out. After the last of an epoch, all lanes start over.

    Reference: Mikolov, Sutskever, Deoras, Le, Kombrink, Černocký, "Subword language modeling with
    neural networks", 2012, for the characters of the Penn Treebank. The variants are in
    `character_protocols`.
    Differs from the papers: characters are one-hot, never embedded.
    """

    settings_type = CharactersSettings
    protocols: ClassVar[Mapping[str, Protocol]] = PROTOCOLS
    sources = TextSources("ptb", pydoc_text, own_text)
    settings: CharactersSettings

    @property
    def protocol(self) -> CharactersProtocol:
        """See `Task.protocol`."""
        return PROTOCOLS[self.settings.protocol]

    @property
    def symbols(self) -> str:
        """All symbols in the order of their codes."""
        return characters_of(self.parts)

    @property
    def input_size(self) -> int:
        """V."""
        return PTB_SYMBOLS if self.settings.text == "ptb" else len(self.symbols)

    @property
    def length(self) -> int:
        """T: characters that are predicted in one sequence, of a line at most."""
        most = self.settings.length or self.protocol.length
        return most - 1 if self.protocol.layout == "lines" else most

    @property
    def baseline(self) -> float:
        """Nats a character on the test text where each symbol has its share of the training text.

        The shares are (n_v + 1) / (n + V), so that none is impossible. The treebank's is the
        published 4.346 bits, where all of it counts.
        """
        if self.settings.text == "ptb" and self.protocol.layout != "lines":
            return _PTB_UNIGRAM_BITS * math.log(2)
        return self.unigram

    @property
    def baseline_metrics(self) -> dict[str, float]:
        """``bits_per_character`` of the baseline."""
        return {"bits_per_character": self.baseline / math.log(2)}

    @property
    def training_size(self) -> int | None:
        """Windows or lines of an epoch; None for lanes, whose number is the batch size."""
        if self.protocol.layout == "lanes":
            return None
        return len(self._lines("train")) if self.protocol.layout == "lines" else self._windows

    @property
    def carries_state(self) -> bool:
        """See `Task.carries_state`."""
        return self.protocol.layout == "lanes"

    def prepare(self) -> None:
        """See `Task.prepare`; also refuses a text too short for the protocol."""
        _ = self.unigram, self.training_size

    def training_batch(self, seed: int, step: int, batch_size: int) -> Batch:
        """See `Task.training_batch`; lanes are the same for every seed."""
        if self.protocol.layout == "lanes":
            return super().training_batch(seed, step, batch_size)
        chosen = self._order.batch(seed, step, batch_size)
        if self.protocol.layout == "lines":
            return self._lines_batch(self._lines("train").take(chosen))
        epochs = (step * batch_size + np.arange(batch_size)) // self._windows
        return self.cut("train", chosen * self.length + self._shift(seed, epochs), self.length)

    def evaluation_set(self, split: Split, size: int) -> Batch:
        """See `Task.evaluation_set`.

        Windows and lines are in a random order, so that a few are a fair sample. Lanes are long:
        the protocol's number of them, each passed from its first character to its last.
        """
        if self.protocol.layout == "lanes":
            return super().evaluation_set(split, size)
        return next(self.evaluation_chunks(split, size, size))

    def evaluation_chunks(self, split: Split, size: int, sequences: int) -> Iterator[Batch]:
        """See `Task.evaluation_chunks`; lanes are few, and are cut along time instead."""
        layout, steps = self.protocol.layout, self.length
        if layout == "lanes":
            yield from super().evaluation_chunks(split, size, sequences)
            return
        lines = self._lines(split) if layout == "lines" else None
        count = (len(self.codes(split)) - 1) // steps if lines is None else len(lines)
        if count < 1:
            raise self.too_short(f"no window in its {split} part")
        order = permutation(Stream(self.settings.name, split), count)[:size].astype(np.int64)
        for first in range(0, len(order), sequences):
            chosen = order[first : first + sequences]
            if lines is None:
                yield self.cut(split, chosen * steps, steps)
            else:
                yield self._lines_batch(lines.take(chosen))

    def evaluation_pieces(self, split: Split, size: int, steps: int) -> Iterator[Batch]:
        """See `Task.evaluation_pieces`."""
        if self.protocol.layout == "lanes":
            return super().evaluation_pieces(split, size, steps)
        return Task.evaluation_pieces(self, split, size, steps)

    @property
    def better(self) -> Mapping[str, Better]:
        """See `Task.better`."""
        return {**WITH_ACCURACY, "bits_per_character": "lower"}

    def summary(self, means: dict[str, Tensor]) -> dict[str, Tensor]:
        """``bits_per_character``: the loss in bits. See `Task.summary`."""
        return means | {"bits_per_character": means["loss"] / math.log(2)}

    def example(self) -> str:
        """See `Task.example`."""
        batch = next(self.evaluation_pieces("validation", 1, _SHOWN))
        shown = range(min(_SHOWN, int(counted(batch.targets[:, 0]).sum())))
        inputs, targets = batch.inputs[:, 0].argmax(1).tolist(), batch.targets[:, 0].tolist()
        rows = {
            "input": [self._picture(inputs[t]) for t in shown],
            "target": [self._picture(targets[t]) for t in shown],
        }
        note = f"(␣ space, ↵ line feed; from {self.settings.text}; {self.length} steps)"
        return "\n".join([*aligned(rows), note])

    @cached_property
    def _windows(self) -> int:
        """Windows of an epoch: as many as fit wherever the first begins."""
        found = (len(self.codes("train")) - self.length) // self.length
        if found < 1:
            raise self.too_short("no window")
        return found

    @cached_property
    def _order(self) -> EpochOrder:
        return EpochOrder(self.training_size or 0, self.settings.name)

    def codes(self, part: Part) -> NDArray[np.integer]:
        """See `LanguageModelTask.codes`."""
        codes: NDArray[np.integer] = np.asarray(self.parts[part]["codes"])
        return codes

    def asked(self, part: Part) -> Codes:
        """See `LanguageModelTask.asked`."""
        codes, layout = self.codes(part), self.protocol.layout
        if layout == "lines":
            found = self._lines(part).without(1, 0).joined()
        elif layout == "windows" and part != "train":
            found = codes[1 : 1 + (len(codes) - 1) // self.length * self.length]
        else:
            return super().asked(part)
        return found.astype(np.int64)

    def _lines(self, part: Part) -> Stretches:
        """The lines that are short enough and ask for anything, without their line feeds."""
        codes = self.codes(part)
        feed = self.symbols.find(chr(_LINE_FEED))
        ends = np.append(np.flatnonzero(codes == feed), len(codes))
        bounds = np.stack([np.append(0, ends[:-1] + 1), ends], axis=1)
        sizes = bounds[:, 1] - bounds[:, 0]
        kept = (sizes >= 2) & (sizes <= self.length + 1)
        if not kept.any():
            raise self.too_short(f"no line of 2 to {self.length + 1} characters in its {part} part")
        return Stretches(codes, bounds[kept])

    def _shift(self, seed: int, epochs: Codes) -> Codes:
        """Where the windows of these epochs begin: each epoch has its own beginning."""
        stream = Stream(self.settings.name, "shift", seed)
        first = int(epochs[0])
        words = stream.words(int(epochs[-1]) - first + 1, 1, first_row=first)[:, 0]
        return integers(words, self.length)[epochs - first]

    def _lines_batch(self, lines: Stretches) -> Batch:
        beyond = self.input_size  # no symbol, so that its one-hot vector is all zeros
        codes = np.full((self.length, len(lines)), beyond, dtype=np.int64)
        targets = np.full((self.length, len(lines)), IGNORED, dtype=np.int64)
        for b in range(len(lines)):
            line = lines[b].astype(np.int64)
            codes[: len(line) - 1, b] = line[:-1]
            targets[: len(line) - 1, b] = line[1:]
        return Batch(one_hot_inputs(codes, self.input_size), torch.from_numpy(targets))

    def _picture(self, code: int) -> str:
        symbol = self.symbols[code]
        return {" ": "␣", "\n": "↵"}.get(symbol, symbol if symbol.isprintable() else "?")
