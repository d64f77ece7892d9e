"""The denoise task: recall the symbols among blanks, in order, after a marker.

B sequences, T time steps.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, Literal, final

import numpy as np
import torch
from torch import Tensor

from longhaul_trainers.counter import Words, distinct_integers, integers
from longhaul_trainers.settings import Settings, setting
from longhaul_trainers.tasks.base import Batch, Protocol
from longhaul_trainers.tasks.rows import aligned
from longhaul_trainers.tasks.symbolic import SymbolicTask

RECALLED: Final = 10
"""Symbols to recall."""
SYMBOLS: Final = 9
"""Different symbols; their codes are 1 ... 9."""
BLANK: Final = 0
MARKER: Final = 10


@dataclass(frozen=True, kw_only=True)
class DenoiseProtocol(Protocol):
    """A protocol of the denoise task.

    Attributes:
        distinct: whether no two symbols are put at the same place.
        marker_input: whether the marker has an input of its own; else its step is all zeros.
    """

    distinct: bool
    marker_input: bool


ProtocolName = Literal["jing-2017", "jing-2017-corrected"]

_SOURCE: Final = (
    "Jing, Gulcehre, Peurifoy, Shen, Tegmark, Soljačić, Bengio: Gated Orthogonal Recurrent Units: "
    "On Learning to Forget, 2017, arXiv:1706.02761; code jingli9111/GORU-tensorflow"
)

_PROTOCOLS = (
    DenoiseProtocol(
        name="jing-2017",
        source=_SOURCE,
        summary="As their program draws it: places with replacement, a marker without an input.",
        batch_size=128,
        steps=10_000,
        defects="Places are drawn with replacement; of two symbols at one place the earlier is "
        "lost, but asked for. At delay 200 this happens in 19.6 % of the sequences, so no cell "
        "can reach loss 0. Their one-hot code has 10 entries and the marker is number 10, so that "
        "its step is all zeros. Their accuracy is over all steps, of which the blanks are easy; "
        "here it is over the recalled ones. Their test set is one batch.",
        distinct=False,
        marker_input=False,
    ),
    DenoiseProtocol(
        name="jing-2017-corrected",
        source=_SOURCE,
        summary="Different places, so that no symbol is lost, and a marker with an input of its "
        "own. The rest is theirs.",
        batch_size=128,
        steps=10_000,
        defects="Not comparable with losses of their program, which loses symbols.",
        distinct=True,
        marker_input=True,
    ),
)

PROTOCOLS: Final = {protocol.name: protocol for protocol in _PROTOCOLS}


@dataclass(frozen=True, kw_only=True)
class DenoiseSettings(Settings):
    """Which denoise task."""

    name: ClassVar[str] = "denoise"

    protocol: ProtocolName = setting(
        "jing-2017-corrected",
        structural=True,
        searchable=False,
        help="whether symbols can be lost, as their program does",
    )
    delay: int = setting(
        200,
        ge=1,
        structural=True,
        searchable=False,
        help="blanks among which the symbols are spread, plus 1",
    )


@final
class Denoise(SymbolicTask):
    """Ten symbols at random places among blanks, a marker, and then the ten symbols in order.

    With delay 5 in the default protocol (a dot is a blank, M the marker)::

        input   4 . 2 7 1 1 . 9 3 . 5 8 2 . M . . . . . . . . . .
        target  . . . . . . . . . . . . . . . 4 2 7 1 1 9 3 5 8 2

    As copying, but what is to be remembered must be told from what is not. Inputs are one-hot,
    (T, B, 11): blank, symbols 1 to 9, marker; 10 without the marker's. Targets are (T, B) with the
    same codes, and every step counts.

    Reference: the protocols'. The corrected protocol is the default.
    """

    settings_type = DenoiseSettings
    protocols: ClassVar[Mapping[str, Protocol]] = PROTOCOLS
    reads = "every"
    settings: DenoiseSettings

    @property
    def protocol(self) -> DenoiseProtocol:
        """See `Task.protocol`."""
        return PROTOCOLS[self.settings.protocol]

    @property
    def input_size(self) -> int:
        """11, or 10 where the marker has no input."""
        return 1 + SYMBOLS + self.protocol.marker_input

    @property
    def output_size(self) -> int:
        """10: blank and symbols."""
        return 1 + SYMBOLS

    @property
    def length(self) -> int:
        """T = delay + 20."""
        return self.settings.delay + 2 * RECALLED

    @property
    def baseline(self) -> float:
        """10 ln 9 / (delay + 20).

        The best predictor that knows the step, but none of the symbols, is sure of the blanks and
        can only give each of the 9 symbols the probability 1/9 at the 10 recalled steps. Symbols
        that are lost do not change this.
        """
        return RECALLED * math.log(SYMBOLS) / self.length

    @property
    def words_per_sequence(self) -> int:
        """For each symbol one for its place and one for itself."""
        return 2 * RECALLED

    def drawn(self, words: Words) -> Batch:
        """See `SyntheticTask.drawn`."""
        size = len(words)
        room = self.settings.delay + RECALLED - 1
        draw = distinct_integers if self.protocol.distinct else integers
        places = np.sort(draw(words[:, :RECALLED], room), axis=1).T
        symbols = integers(words[:, RECALLED:], SYMBOLS).T + 1
        codes = np.full((self.length, size), BLANK, dtype=np.int64)
        codes[room] = MARKER
        row = np.arange(size)
        for place, symbol in zip(places, symbols, strict=True):
            # One after the other: at one place, the later symbol stays.
            codes[place, row] = symbol
        targets = torch.full((self.length, size), BLANK, dtype=torch.int64)
        targets[-RECALLED:] = torch.from_numpy(symbols)
        return Batch(torch.from_numpy(codes), targets)

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """``accuracy``: share of the recalled symbols that the largest logit names."""
        return super().metrics(outputs[-RECALLED:], targets[-RECALLED:])

    def example(self) -> str:
        """See `Task.example`."""
        batch = self.evaluation_set("validation", 1)
        room = self.settings.delay + RECALLED - 1
        codes = batch.inputs[:, 0].argmax(1).tolist()
        codes[room] = MARKER
        marks = {BLANK: ".", MARKER: "M"}
        rows = {
            "input": [marks.get(code, str(code)) for code in codes],
            "target": [marks.get(code, str(code)) for code in batch.targets[:, 0].tolist()],
        }
        symbols = {t for t in range(room) if codes[t] != BLANK}
        legend = f"(. blank, M marker, … more blanks; {self.length} steps)"
        return "\n".join([*aligned(rows, {0, *symbols, *range(room, self.length)}), legend])
