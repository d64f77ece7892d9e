"""A language model of words: which one comes next."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from longhaul_trainers.data.words import (
    PTB_WORDS_COUNT,
    own_words,
    pydoc_words,
    vocabulary_of,
)
from longhaul_trainers.settings import setting
from longhaul_trainers.tasks.base import WITH_ACCURACY, Better, Protocol
from longhaul_trainers.tasks.language_model import (
    LanguageModelProtocol,
    LanguageModelSettings,
    LanguageModelTask,
    TextSources,
)
from longhaul_trainers.tasks.next_frame import Part
from longhaul_trainers.tasks.rows import aligned
from longhaul_trainers.tasks.word_protocols import PROTOCOLS, ProtocolName

_SHOWN = 7
_WIDEST = 10
_PTB_UNIGRAM_PERPLEXITY = 639.3


@dataclass(frozen=True, kw_only=True)
class WordsSettings(LanguageModelSettings):
    """Which text, and how it is passed."""

    name: ClassVar[str] = "words"

    protocol: ProtocolName = setting(
        "zaremba-2014", structural=True, searchable=False, help="how the text is cut and passed"
    )
    length: int | None = setting(
        None,
        ge=2,
        structural=True,
        searchable=False,
        help="words of a sequence; null: as the protocol published",
    )
    vocabulary: int = setting(
        PTB_WORDS_COUNT,
        ge=2,
        structural=True,
        searchable=False,
        help="words that are told apart at most, the most frequent of the training text; all "
        "others are <unk>",
    )


@final
class Words(LanguageModelTask):
    """A text, one word a step, and at each the question which one comes next.

    Inputs are one-hot, (T, B, V). Targets are (T, B), the word of the step after. The loss is the
    mean cross entropy in nats, ``perplexity`` its exponential. The vocabulary is the training
    text's: ``<unk>`` and its most frequent words, ``<eos>`` at the end of each line among them. In
    the treebank words are what spaces separate, in other texts runs of letters and digits; every
    other visible character stands alone.

    A batch is the next T words of B lanes: lane b is the b-th of B equal parts of the text, and
    what fills no sequence at its end is left out. After the last of an epoch, all lanes start over.

    Reference: Mikolov, Karafiát, Burget, Černocký, Khudanpur, "Recurrent neural network based
    language model", Interspeech 2010, for the words of the Penn Treebank.
    Differs from the papers: words are one-hot, never embedded.
    """

    settings_type = WordsSettings
    protocols: ClassVar[Mapping[str, Protocol]] = PROTOCOLS
    sources = TextSources("ptb_words", pydoc_words, own_words)
    settings: WordsSettings

    @property
    def protocol(self) -> LanguageModelProtocol:
        """See `Task.protocol`."""
        return PROTOCOLS[self.settings.protocol]

    @cached_property
    def vocabulary(self) -> list[str]:
        """The words that are told apart in the order of their codes; the first is ``<unk>``."""
        return vocabulary_of(self.parts)[: self.settings.vocabulary]

    @property
    def input_size(self) -> int:
        """V."""
        return self._size

    @property
    def length(self) -> int:
        """T: words that are predicted in one sequence."""
        return self.settings.length or self.protocol.length

    @property
    def baseline(self) -> float:
        """Nats a word on the test text where each has its share of the training text.

        The shares are (n_v + 1) / (n + V), so that none is impossible. The treebank's with its
        whole vocabulary is the published perplexity of 639.3.
        """
        if self.text == "ptb" and self.settings.vocabulary >= PTB_WORDS_COUNT:
            return math.log(_PTB_UNIGRAM_PERPLEXITY)
        return self.unigram

    @property
    def baseline_metrics(self) -> dict[str, float]:
        """``perplexity`` of the baseline."""
        return {"perplexity": math.exp(self.baseline)}

    def prepare(self) -> None:
        """See `Task.prepare`; also refuses a text too short for the protocol."""
        _ = self.unigram, next(self.evaluation_pieces("validation", 1, 1))

    @property
    def better(self) -> Mapping[str, Better]:
        """See `Task.better`."""
        return {**WITH_ACCURACY, "perplexity": "lower"}

    def summary(self, means: dict[str, Tensor]) -> dict[str, Tensor]:
        """``perplexity`` of the whole set. See `Task.summary`."""
        return means | {"perplexity": means["loss"].exp()}

    def example(self) -> str:
        """See `Task.example`."""
        batch = next(self.evaluation_pieces("validation", 1, _SHOWN))
        words = self.vocabulary
        inputs, targets = batch.inputs[:, 0].argmax(1).tolist(), batch.targets[:, 0].tolist()
        rows = {
            "input": [words[code][:_WIDEST] for code in inputs],
            "target": [words[code][:_WIDEST] for code in targets],
        }
        note = f"(from {self.text}; {self.input_size:,} words; {self.length} steps)"
        return "\n".join([*aligned(rows), note])

    def codes(self, part: Part) -> NDArray[np.integer]:
        """See `LanguageModelTask.codes`; what is too rare to be told apart is 0."""
        return self._codes[part]

    @cached_property
    def _codes(self) -> dict[str, NDArray[np.integer]]:
        found = {
            part: np.asarray(self.parts[part]["codes"]) for part in ("train", "validation", "test")
        }
        return {part: np.where(codes < self._size, codes, 0) for part, codes in found.items()}

    @cached_property
    def _size(self) -> int:
        if self.text == "ptb":
            return min(self.settings.vocabulary, PTB_WORDS_COUNT)
        return len(self.vocabulary)
