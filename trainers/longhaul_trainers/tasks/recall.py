"""Associative recall: which digit stood behind this key?

B sequences, T time steps.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, Literal, final

import numpy as np
import torch

from longhaul_trainers.counter import Words, distinct_integers, integers
from longhaul_trainers.errors import SettingError
from longhaul_trainers.settings import Settings, setting
from longhaul_trainers.tasks.base import Batch, Protocol
from longhaul_trainers.tasks.rows import aligned, ends
from longhaul_trainers.tasks.symbolic import SymbolicTask

DIGITS: Final = 10
QUESTION_MARK: Final = 0

ProtocolName = Literal["dangovski-2019"]

PROTOCOLS: Final = {
    "dangovski-2019": Protocol(
        name="dangovski-2019",
        source="Dangovski, Jing, Nakov, Tatalović, Soljačić: Rotational Unit of Memory: A Novel "
        "Representation Unit for RNNs with Scalable Applications, TACL 2019, arXiv:1710.09537; "
        "code rdangovs/rotational-unit-of-memory",
        summary="Pairs of a key and a digit, two question marks, a key; the answer is due at that "
        "last step. Each key stands in every sequence, in a new order.",
        batch_size=128,
        steps=10_000,
        defects="Their training set is 100,000 fixed sequences; here every step has fresh ones. "
        "Batch size and steps are those of their PyTorch program; the batches of the TensorFlow "
        "one have 32 sequences by default.",
    )
}


@dataclass(frozen=True, kw_only=True)
class RecallSettings(Settings):
    """Which recall task."""

    name: ClassVar[str] = "recall"

    protocol: ProtocolName = setting(
        "dangovski-2019", structural=True, searchable=False, help="the layout, as a paper had it"
    )
    length: int = setting(
        50,
        ge=2,
        structural=True,
        searchable=False,
        help="steps of the keys and digits together, an even number; the question takes 3 more",
    )

    def check(self) -> None:
        """Refuses half a pair."""
        if self.length % 2:
            raise SettingError("length", f"expected an even number, found {self.length}")


@final
class Recall(SymbolicTask):
    """Keys and digits by turns, then one of the keys: which digit followed it?

    With length 8::

        input   c 4 a 0 d 9 b 4 ? ? a
        target                      0

    Inputs are one-hot, (T, B, length / 2 + 11): question mark, keys, digits. The target is (1, B),
    at the last step: one of the 10 digits. The keys are all different; a digit may come again.

    Reference: the protocol's.
    """

    settings_type = RecallSettings
    protocols: ClassVar[Mapping[str, Protocol]] = PROTOCOLS
    reads = "last"
    settings: RecallSettings

    @property
    def protocol(self) -> Protocol:
        """See `Task.protocol`."""
        return PROTOCOLS[self.settings.protocol]

    @property
    def keys(self) -> int:
        """Keys, each with its digit."""
        return self.settings.length // 2

    @property
    def input_size(self) -> int:
        """Question mark, keys and digits."""
        return 1 + self.keys + DIGITS

    @property
    def output_size(self) -> int:
        """10."""
        return DIGITS

    @property
    def length(self) -> int:
        """T: the pairs and three steps."""
        return self.settings.length + 3

    @property
    def baseline(self) -> float:
        """The logarithm of 10: digits are uniform and independent of the keys."""
        return math.log(DIGITS)

    @property
    def words_per_sequence(self) -> int:
        """For each pair one for the key and one for the digit, and one for the question."""
        return 2 * self.keys + 1

    def drawn(self, words: Words) -> Batch:
        """See `SyntheticTask.drawn`."""
        size, n = len(words), self.keys
        # Time before sequences, as in the batch: each array is then gone through as it lies.
        words = np.ascontiguousarray(words.T)
        order = distinct_integers(words[:n].T, n).T
        digits = integers(words[n : 2 * n], DIGITS)
        asked = integers(words[2 * n], n)
        row = np.arange(size)
        codes = np.full((self.length, size), QUESTION_MARK, dtype=np.int64)
        np.add(order, 1, out=codes[0 : 2 * n : 2])
        np.add(digits, 1 + n, out=codes[1 : 2 * n : 2])
        codes[-1] = 1 + order[asked, row]
        targets = torch.from_numpy(digits[asked, row]).unsqueeze(0)
        return Batch(torch.from_numpy(codes), targets)

    def example(self) -> str:
        """See `Task.example`."""
        batch = self.evaluation_set("validation", 1)
        codes = batch.inputs[:, 0].argmax(1).tolist()
        rows = {
            "input": [self._picture(code) for code in codes],
            "target": [*[""] * (self.length - 1), str(batch.targets[0, 0].item())],
        }
        answer = codes.index(codes[-1])
        shown = ends(self.length, 6, 5) | {answer, answer + 1}
        return "\n".join([*aligned(rows, shown), f"(k1, k2, ... keys; {self.length} steps)"])

    def _picture(self, code: int) -> str:
        if code == QUESTION_MARK:
            return "?"
        return f"k{code}" if code <= self.keys else str(code - 1 - self.keys)
