"""The copying memory task: repeat a pattern after a long delay.

B sequences, T time steps, I inputs, O classes.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
import torch
from torch import Tensor

from longhaul_trainers.counter import Words, integers
from longhaul_trainers.errors import SettingError
from longhaul_trainers.readout import mean_cross_entropy
from longhaul_trainers.settings import Settings, setting
from longhaul_trainers.tasks.base import IGNORED, WITH_ACCURACY, Batch, Better, Protocol
from longhaul_trainers.tasks.copying_protocols import (
    BLANK,
    CODES,
    MARKER,
    PATTERN,
    PROTOCOLS,
    SYMBOLS,
    CopyingProtocol,
    ProtocolName,
)
from longhaul_trainers.tasks.rows import aligned
from longhaul_trainers.tasks.symbolic import CodedTask


@dataclass(frozen=True, kw_only=True)
class CopyingSettings(Settings):
    """Which copying task."""

    name: ClassVar[str] = "copying"

    protocol: ProtocolName = setting(
        "arjovsky-2016", structural=True, searchable=False, help="the layout, as a paper had it"
    )
    delay: int = setting(
        100,
        ge=1,
        structural=True,
        searchable=False,
        help="how long to remember, in steps, as the protocol counts them",
    )

    def check(self) -> None:
        """Refuses a delay too short for the layout."""
        least = PROTOCOLS[self.protocol].layout.least_delay
        if self.delay < least:
            problem = f"protocol {self.protocol} needs at least {least}, found {self.delay}"
            raise SettingError("delay", problem)


@final
class Copying(CodedTask):
    """Ten symbols of eight kinds, a delay, a marker, and the ten symbols again.

    With delay 7 in the protocol ``arjovsky-2016`` (a dot is a blank, M the marker)::

        input   3 6 5 7 2 8 1 1 4 2 . . . . . . M . . . . . . . . . .
        target  . . . . . . . . . . . . . . . . . 3 6 5 7 2 8 1 1 4 2

    Inputs are one-hot, (T, B, 10): blank, symbols 1 to 8, marker. Targets are (T, B) whole numbers
    with the same codes; steps that a protocol does not count hold `IGNORED`.

    Reference: task of Hochreiter and Schmidhuber (1997) in the form of Arjovsky et al. (2016),
    arXiv:1511.06464. The variants are in `copying_protocols`.
    """

    settings_type = CopyingSettings
    protocols: ClassVar[Mapping[str, Protocol]] = PROTOCOLS
    reads = "every"
    settings: CopyingSettings

    def __init__(self, settings: CopyingSettings) -> None:
        super().__init__(settings)
        layout = self.protocol.layout
        # What all sequences share; the pattern's steps are still empty.
        codes = [BLANK] * PATTERN + list(layout.codes(settings.delay))
        self._length = len(codes)
        self._codes = np.array(codes, dtype=np.int64)[:, None]
        self._unread = BLANK if layout.counted == "every" else IGNORED

    @property
    def protocol(self) -> CopyingProtocol:
        """See `Task.protocol`."""
        return PROTOCOLS[self.settings.protocol]

    @property
    def input_size(self) -> int:
        """10."""
        return CODES

    @property
    def output_size(self) -> int:
        """9, or 10 where the protocol has an output for the marker."""
        return self.protocol.layout.classes

    @property
    def length(self) -> int:
        """T, from the first symbol of the pattern to the last recalled one."""
        return self._length

    @property
    def baseline(self) -> float:
        """10 ln 8 / S, for S steps that the protocol counts.

        The best predictor that knows the layout and the step, but none of the symbols, is sure of
        the blanks, which cost nothing, and can only give each of the 8 symbols the probability 1/8
        at the 10 recalled steps, which cost ln 8 each. The mean over S = T steps is 10 ln 8 / T,
        that is 10 ln 8 / (delay + 20) for arjovsky-2016 and 10 ln 8 / (delay + 10) for keller-2024;
        where only the recalled steps count, S = 10 and the mean is ln 8. Where the marker moves,
        that predictor has noticed when it came, and the mean is 10 ln 8 / (delay + 20) as well.
        """
        counted = self._length if self.protocol.layout.counted == "every" else PATTERN
        return PATTERN * math.log(SYMBOLS) / counted

    @property
    def words_per_sequence(self) -> int:
        """One for each symbol of the pattern, and one for the place of a marker that moves."""
        return PATTERN + self.protocol.layout.moving

    def drawn(self, words: Words) -> Batch:
        """See `SyntheticTask.drawn`."""
        size = len(words)
        pattern = integers(words[:, :PATTERN], SYMBOLS).T + 1
        codes = np.repeat(self._codes, size, axis=1)
        codes[:PATTERN] = pattern
        targets = np.full((self._length, size), self._unread, dtype=np.int64)
        if self.protocol.layout.moving:
            markers = integers(words[:, PATTERN], self.settings.delay - 1) + PATTERN + 1
            codes[markers, np.arange(size)] = MARKER
            recalled = markers + 1 + np.arange(PATTERN)[:, None]
            np.put_along_axis(targets, recalled, pattern, axis=0)
        else:
            targets[-PATTERN:] = pattern
        return Batch(torch.from_numpy(codes), torch.from_numpy(targets))

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean cross entropy in nats over all sequences and counted steps.

        Args:
            outputs: logits (T, B, O).
            targets: (T, B).
        """
        return mean_cross_entropy(outputs.flatten(0, 1), targets.flatten(), IGNORED)

    @property
    def better(self) -> Mapping[str, Better]:
        """See `Task.better`."""
        return WITH_ACCURACY

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """``accuracy``: share of the recalled symbols that the largest logit names."""
        if self.protocol.layout.moving:
            recalled = (targets != BLANK).double()
            right = (outputs.argmax(2) == targets).double() * recalled
            return {"accuracy": (right.sum() / recalled.sum()).float()}
        named = outputs[-PATTERN:].argmax(2)
        return {"accuracy": (named == targets[-PATTERN:]).float().mean()}

    def example(self) -> str:
        """See `Task.example`."""
        batch = self.evaluation_set("validation", 1)
        rows = {
            "input": [_picture(code) for code in batch.inputs[:, 0].argmax(1).tolist()],
            "target": [_picture(code) for code in batch.targets[:, 0].tolist()],
        }
        if self.protocol.layout.moving:
            place = rows["input"].index(_picture(MARKER))
            seen = {0, *range(PATTERN + 3), *range(place - 2, place + 14), self.length - 1}
            legend = f"({_picture(BLANK)} blank, {_picture(MARKER)} marker, … blanks"
            return "\n".join([*aligned(rows, seen), f"{legend}; {self.length} steps)"])
        blanks = self.settings.delay + self.protocol.layout.extra_blanks
        shown = 6
        legend = f"{_picture(BLANK)} blank, {_picture(MARKER)} marker"
        if self.protocol.layout.counted == "recalled":
            legend += f", {_picture(IGNORED)} not counted"
        if blanks > shown + 1:
            cut = slice(PATTERN + shown // 2, PATTERN + blanks - shown // 2)
            legend += f", … {blanks - shown} more blanks"
            for row in rows.values():
                row[cut] = ["…"]
        lines = [f"{name:<8}{' '.join(row)}" for name, row in rows.items()]
        return "\n".join([*lines, f"({legend}; {self.length} steps)"])


def _picture(code: int) -> str:
    return {BLANK: ".", MARKER: "M", IGNORED: "-"}.get(code, str(code))
