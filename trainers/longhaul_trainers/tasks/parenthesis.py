"""The parenthesis task: how many brackets of each kind are open?

B sequences, T time steps, K kinds of brackets, C counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Final, Literal, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from longhaul_trainers.counter import Words, integers
from longhaul_trainers.settings import Settings, setting
from longhaul_trainers.tasks.base import WITH_ACCURACY, Batch, Better, Protocol
from longhaul_trainers.tasks.rows import aligned
from longhaul_trainers.tasks.symbolic import CodedTask

KINDS: Final = 10
"""Kinds of brackets."""
NOISE: Final = 10
"""Different symbols that are no brackets."""
MOST: Final = 10
"""Open brackets are counted up to this many."""

ProtocolName = Literal["jing-2017"]

PROTOCOLS: Final = {
    "jing-2017": Protocol(
        name="jing-2017",
        source="Jing, Gulcehre, Peurifoy, Shen, Tegmark, Soljačić, Bengio: Gated Orthogonal "
        "Recurrent Units: On Learning to Forget, 2017, arXiv:1706.02761; code "
        "jingli9111/GORU-tensorflow. After a task of Foerster, Gilmer, Sohl-Dickstein, "
        "Chorowski, Sussillo: Input Switched Affine Networks, ICML 2017, arXiv:1611.09434 (from "
        "memory)",
        summary="10 kinds of brackets and 10 other symbols, all equally likely; at every step the "
        "open brackets of each kind, up to 10. All steps and kinds count alike.",
        batch_size=128,
        steps=5_000,
        defects="Sizes, batch and steps are the defaults of an earlier version of their program. "
        "Their readout has 21 counts a kind, of which 10 never come; here it has the 11 that do. "
        "Above 10, brackets are forgotten: the next closing one gives 9.",
    )
}


@dataclass(frozen=True, kw_only=True)
class ParenthesisSettings(Settings):
    """Which parenthesis task."""

    name: ClassVar[str] = "parenthesis"

    protocol: ProtocolName = setting(
        "jing-2017", structural=True, searchable=False, help="the sizes, as a paper had them"
    )
    length: int = setting(
        200, ge=1, structural=True, searchable=False, help="steps of one sequence"
    )


@final
class Parenthesis(CodedTask):
    """Brackets of ten kinds among noise: at every step, how many of each kind are open.

    Looking at two kinds (a dot is noise)::

        input    a(  .  b(  a(  .  .  a)  b)  b)  .
        open a    1  1   1   2  2  2   1   1   1  1
        open b    0  0   1   1  1  1   1   0   0  0

    A closing bracket without an open one changes nothing. Inputs are one-hot, (T, B, 30): opening
    and closing by turns for each kind, then noise. Targets are (T, B, 10), a count from 0 to 10
    for each kind; outputs are (T, B, 110), 11 logits for each kind in turn.

    Reference: the protocol's.
    """

    settings_type = ParenthesisSettings
    protocols: ClassVar[Mapping[str, Protocol]] = PROTOCOLS
    reads = "every"
    settings: ParenthesisSettings

    @property
    def protocol(self) -> Protocol:
        """See `Task.protocol`."""
        return PROTOCOLS[self.settings.protocol]

    @property
    def input_size(self) -> int:
        """30."""
        return 2 * KINDS + NOISE

    @property
    def output_size(self) -> int:
        """110: 11 counts for each of 10 kinds."""
        return KINDS * (MOST + 1)

    @property
    def length(self) -> int:
        """T, as the settings have it."""
        return self.settings.length

    @cached_property
    def odds(self) -> NDArray[np.float64]:
        """The distribution of one kind's count after each step, (T, 11).

        The count is a random walk between 0 and 10 that goes up with probability 1/30, down with
        1/30, and stays otherwise, or where it would leave the range.
        """
        move = 1 / self.input_size
        now = np.zeros(MOST + 1)
        now[0] = 1.0
        after = []
        for _ in range(self.length):
            up, down = np.roll(now, 1), np.roll(now, -1)
            up[0], down[-1] = 0.0, 0.0
            up[-1] += now[-1]
            down[0] += now[0]
            now = move * (up + down) + (1 - 2 * move) * now
            after.append(now)
        return np.stack(after)

    @property
    def baseline(self) -> float:
        """The mean over the steps of the entropy of a count at that step, 1.570 for 200 steps.

        That is the best a predictor can do that knows the step alone; all kinds are alike. It
        does not use the step's own input, although that is at hand: to know that a bracket was
        just opened would save 1.5 % of it at 200 steps.
        """
        return self._baseline

    @cached_property
    def _baseline(self) -> float:
        logarithms = np.log(self.odds, where=self.odds > 0, out=np.zeros_like(self.odds))
        return float(-(self.odds * logarithms).sum(axis=1).mean())

    @property
    def words_per_sequence(self) -> int:
        """One a step."""
        return self.length

    def drawn(self, words: Words) -> Batch:
        """See `SyntheticTask.drawn`."""
        codes = np.ascontiguousarray(integers(words, self.input_size).T, dtype=np.int8)
        # What each step adds to each count, which then becomes the count itself.
        found = np.zeros((self.length, KINDS + NOISE // 2, len(words)), dtype=np.int8)
        kinds = codes[:, None] >> 1
        np.put_along_axis(found, kinds, 1 - 2 * (codes[:, None] & 1), axis=1)
        found = found[:, :KINDS]
        counts = np.zeros((KINDS, len(words)), dtype=np.int8)
        for now in found:
            # both ends by one operation each: np.clip takes several times as long
            np.add(counts, now, out=now)
            np.minimum(now, MOST, out=now)
            np.maximum(now, 0, out=now)
            counts = now
        return Batch(torch.from_numpy(codes), torch.from_numpy(found.transpose(0, 2, 1)))

    def shown(self, drawn: Batch) -> Batch:
        """See `SyntheticTask.shown`; counts are drawn in as few bytes as they need."""
        shown = super().shown(drawn)
        return Batch(
            shown.inputs, drawn.targets.to(torch.int64, memory_format=torch.contiguous_format)
        )

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean cross entropy in nats over all sequences, steps and kinds.

        Args:
            outputs: logits (T, B, 110).
            targets: (T, B, 10).
        """
        return cross_entropy(outputs.reshape(-1, MOST + 1), targets.flatten())

    @property
    def better(self) -> Mapping[str, Better]:
        """See `Task.better`."""
        return WITH_ACCURACY

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """``accuracy``: share of the counts that the largest logit names."""
        named = outputs.unflatten(2, (KINDS, MOST + 1)).argmax(3)
        return {"accuracy": (named == targets).float().mean()}

    def example(self) -> str:
        """See `Task.example`."""
        batch = self.evaluation_set("validation", 1)
        codes = batch.inputs[:, 0].argmax(1).tolist()
        rows = {"input": [_picture(code) for code in codes]}
        for kind in range(KINDS):
            counts = batch.targets[:, 0, kind].tolist()
            rows[f"open {_letter(kind)}"] = [str(count) for count in counts]
        legend = f"(. noise; … more; {self.length} steps)"
        return "\n".join([*aligned(rows, range(24)), legend])


def _letter(kind: int) -> str:
    return "abcdefghij"[kind]


def _picture(code: int) -> str:
    if code >= 2 * KINDS:
        return "."
    return _letter(code // 2) + "()"[code % 2]
