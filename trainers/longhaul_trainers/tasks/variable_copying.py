"""Variable copying: recall, in order, a few symbols spread among blanks.

B sequences, T time steps, M symbols to remember.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, Literal, final

import numpy as np
import torch

from longhaul_trainers.counter import Words, distinct_integers, integers
from longhaul_trainers.settings import Settings, setting
from longhaul_trainers.tasks.base import IGNORED, Batch, Protocol
from longhaul_trainers.tasks.rows import aligned
from longhaul_trainers.tasks.symbolic import SymbolicTask


@dataclass(frozen=True, kw_only=True)
class VariableCopyingProtocol(Protocol):
    """A protocol of the variable copying task.

    Attributes:
        remembered: M.
        vocabulary: blank, symbols and marker together.
        blanks: blanks among which the symbols are spread.
    """

    remembered: int
    vocabulary: int
    blanks: int

    @property
    def symbols(self) -> int:
        """Different symbols; their codes are 1 ... symbols."""
        return self.vocabulary - 2


ProtocolName = Literal["gu-2020", "gu-2023"]

_PROTOCOLS = (
    VariableCopyingProtocol(
        name="gu-2020",
        source="Gu, Dao, Ermon, Rudra, Ré: HiPPO: Recurrent Memory with Optimal Polynomial "
        "Projections, NeurIPS 2020, arXiv:2008.07669; code HazyResearch/hippo-code, carried on in "
        "state-spaces/s4, there `variable: true`",
        summary="10 symbols of 8 kinds among 100 blanks, 10 markers, 10 classes.",
        batch_size=100,
        steps=24_750,
        defects="Their training set is 49,500 fixed sequences, passed 50 times; here every step "
        "has fresh ones. Batch size and epochs are the defaults of their configuration, which has "
        "the symbols in front.",
        remembered=10,
        vocabulary=10,
        blanks=100,
    ),
    VariableCopyingProtocol(
        name="gu-2023",
        source="Gu, Dao: Mamba: Linear-Time Sequence Modeling with Selective State Spaces, 2023, "
        "arXiv:2312.00752; sequences as state-spaces/s4 makes them",
        summary="Selective copying: 16 symbols of 14 kinds among 4,096 blanks, 16 markers, a "
        "vocabulary of 16.",
        batch_size=64,
        steps=400_000,
        defects="Length, vocabulary, batch size and steps are from memory. The paper's length of "
        "4,096 is taken for the number of blanks; whether it counts the symbols and the markers is "
        "not known, nor whether the vocabulary of 16 counts the marker.",
        remembered=16,
        vocabulary=16,
        blanks=4096,
    ),
)

PROTOCOLS: Final = {protocol.name: protocol for protocol in _PROTOCOLS}

BLANK: Final = 0


@dataclass(frozen=True, kw_only=True)
class VariableCopyingSettings(Settings):
    """Which variable copying task."""

    name: ClassVar[str] = "variable_copying"

    protocol: ProtocolName = setting(
        "gu-2020", structural=True, searchable=False, help="symbols and sizes, as a paper had them"
    )
    blanks: int | None = setting(
        None,
        ge=0,
        structural=True,
        searchable=False,
        help="blanks among which the symbols are spread; null for as many as the protocol has",
    )


@final
class VariableCopying(SymbolicTask):
    """Symbols at random places among blanks, then as many markers: recall the symbols in order.

    With 5 symbols, 6 blanks (a dot is a blank, M the marker, a dash a step that is not counted)::

        input   . 3 . . 6 5 . 7 . . 2 M M M M M
        target  - - - - - - - - - - - 3 6 5 7 2

    How long a symbol must be kept differs from sequence to sequence, so a fixed delay line does
    not solve this one as it solves copying. Inputs are one-hot, (T, B, vocabulary): blank,
    symbols, marker. Targets are (T, B) with the same codes, `IGNORED` before the markers.

    Reference: the protocols'. The places are a uniform choice of M among blanks + M.
    """

    settings_type = VariableCopyingSettings
    protocols: ClassVar[Mapping[str, Protocol]] = PROTOCOLS
    reads = "every"
    settings: VariableCopyingSettings

    @property
    def protocol(self) -> VariableCopyingProtocol:
        """See `Task.protocol`."""
        return PROTOCOLS[self.settings.protocol]

    @property
    def blanks(self) -> int:
        """Blanks among the symbols."""
        given = self.settings.blanks
        return self.protocol.blanks if given is None else given

    @property
    def input_size(self) -> int:
        """The vocabulary: blank, symbols, marker."""
        return self.protocol.vocabulary

    @property
    def output_size(self) -> int:
        """The vocabulary; blank and marker are never right."""
        return self.protocol.vocabulary

    @property
    def length(self) -> int:
        """T: the blanks, the symbols, and as many markers."""
        return self.blanks + 2 * self.protocol.remembered

    @property
    def baseline(self) -> float:
        """The logarithm of the number of symbols.

        Each counted step asks for one of the symbols, uniform and independent of the others, and
        its input is the marker, which tells nothing.
        """
        return math.log(self.protocol.symbols)

    @property
    def words_per_sequence(self) -> int:
        """For each symbol one for its place and one for itself."""
        return 2 * self.protocol.remembered

    def drawn(self, words: Words) -> Batch:
        """See `SyntheticTask.drawn`."""
        size, count = len(words), self.protocol.remembered
        places = np.sort(distinct_integers(words[:, :count], self.blanks + count), axis=1)
        symbols = integers(np.ascontiguousarray(words[:, count:].T), self.protocol.symbols) + 1
        codes = np.full((self.length, size), BLANK, dtype=np.int64)
        codes[-count:] = self.protocol.vocabulary - 1
        np.put_along_axis(codes, places.T, symbols, axis=0)
        targets = torch.full((self.length, size), IGNORED, dtype=torch.int64)
        targets[-count:] = torch.from_numpy(symbols)
        return Batch(torch.from_numpy(codes), targets)

    def example(self) -> str:
        """See `Task.example`."""
        batch = self.evaluation_set("validation", 1)
        marker = self.protocol.vocabulary - 1
        codes = batch.inputs[:, 0].argmax(1).tolist()
        marks = {BLANK: ".", marker: "M", IGNORED: "-"}
        rows = {
            "input": [marks.get(code, str(code)) for code in codes],
            "target": [marks.get(code, str(code)) for code in batch.targets[:, 0].tolist()],
        }
        recall = self.length - self.protocol.remembered
        symbols = [t for t in range(recall) if codes[t] != BLANK]
        legend = f"(. blank, M marker, - not counted, … blanks; {self.length} steps)"
        # With the last symbols and the first markers only, a line stays short at any size.
        shown = {0, *symbols[:4], *symbols[-4:], *range(recall, recall + 4), self.length - 1}
        return "\n".join([*aligned(rows, shown), legend])
