"""Multi-query associative recall: after some pairs, which value belonged to each key?

B sequences, T time steps, K pairs, V symbols.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, Literal, final

import numpy as np
import torch
from numpy.typing import NDArray

from longhaul_trainers.counter import Words, distinct_integers, integers, uniform64
from longhaul_trainers.errors import SettingError
from longhaul_trainers.settings import Settings, setting
from longhaul_trainers.tasks.base import IGNORED, Batch, Protocol
from longhaul_trainers.tasks.rows import aligned, ends
from longhaul_trainers.tasks.symbolic import SymbolicTask

FILLER: Final = 0
POWER: Final = 0.01
"""a of the gaps' power law, in every protocol."""


@dataclass(frozen=True, kw_only=True)
class MQARProtocol(Protocol):
    """A protocol of the task.

    Attributes:
        random_fillers: whether steps without pair or query hold any symbol, instead of filler 0.
    """

    random_fillers: bool


ProtocolName = Literal["arora-2024", "arora-2024-based"]

_VOCABULARY: Final = (
    "Their vocabulary has 8,192 symbols, which they embed; inputs here are one-hot, so the default "
    "is smaller, and the baseline with it."
)

_PROTOCOLS = (
    MQARProtocol(
        name="arora-2024",
        source="Arora, Eyuboglu, Timalsina, Johnson, Poli, Zou, Rudra, Ré: Zoology: Measuring and "
        "Improving Recall in Efficient Language Models, ICLR 2024, arXiv:2312.04927; code "
        "HazyResearch/zoology",
        summary="64 steps with 4 pairs, 128 with 8 or 256 with 16, each trained apart; fillers "
        "are all the same symbol.",
        batch_size=512,
        steps=12_544,
        defects="Their training set is 100,000 fixed sequences, passed 64 times; here every step "
        "has fresh ones. With 256 steps their batches have 256 sequences. " + _VOCABULARY,
        random_fillers=False,
    ),
    MQARProtocol(
        name="arora-2024-based",
        source="Arora, Eyuboglu, Zhang, Timalsina, Alberti, Zinsley, Zou, Rudra, Ré: Simple Linear "
        "Attention Language Models Balance the Recall-Throughput Tradeoff (Based), ICML 2024, "
        "arXiv:2402.18668; code HazyResearch/zoology",
        summary="Fillers are any symbols: keys and values, too.",
        batch_size=256,
        steps=22_624,
        defects="They train on five lots of fixed sequences at once (64 steps with 4 pairs to 256 "
        "with 64), passed 32 times, and test up to 1,024 steps with 256 pairs; here training and "
        "evaluation have one length and one number of pairs, and every step fresh sequences. A "
        "filler may be a key of the sequence, with another value behind it; only the first pairs "
        "and the queries count. " + _VOCABULARY,
        random_fillers=True,
    ),
)

PROTOCOLS: Final = {protocol.name: protocol for protocol in _PROTOCOLS}


@dataclass(frozen=True, kw_only=True)
class MQARSettings(Settings):
    """Which recall of several keys."""

    name: ClassVar[str] = "mqar"

    protocol: ProtocolName = setting(
        "arora-2024", structural=True, searchable=False, help="what fills the other steps"
    )
    length: int = setting(
        64, ge=4, structural=True, searchable=False, help="steps of one sequence, an even number"
    )
    pairs: int = setting(
        4,
        ge=1,
        structural=True,
        searchable=False,
        help="pairs of key and value, at most a quarter of the length",
    )
    vocabulary: int = setting(
        128,
        ge=6,
        structural=True,
        searchable=False,
        help="symbols, an even number above the length: filler, keys, and as many values",
    )

    def check(self) -> None:
        """Refuses sizes that do not fit each other."""
        if self.length % 2:
            raise SettingError("length", f"expected an even number, found {self.length}")
        if 4 * self.pairs > self.length:
            problem = f"expected at most length / 4 = {self.length // 4}, found {self.pairs}"
            raise SettingError("pairs", problem)
        if self.vocabulary % 2 or self.vocabulary <= self.length:
            problem = f"expected an even number > length {self.length}, found {self.vocabulary}"
            raise SettingError("vocabulary", problem)


@final
class MQAR(SymbolicTask):
    """Pairs of a key and a value; later each key once more, which asks for its value.

    With 16 steps, 2 pairs and 18 symbols (a dot is a filler, a dash a step that is not counted)::

        input    2 12  4  9  .  .  4  .  .  .  .  .  2  .  .  .
        target   -  -  -  -  -  -  9  -  -  -  -  - 12  -  -  -

    With V symbols, 0 is the filler, 1 to V/2 - 1 are keys, V/2 to V - 1 are values; no key and no
    value comes twice among the pairs. Queries stand 0, 2, 4, ... steps behind the pairs: gap g is
    drawn with a probability proportional to (g + 1)^(a - 1), a = 0.01, without replacement, so
    that most come soon. Inputs are one-hot, (T, B, V); targets are (T, B) with the same codes,
    `IGNORED` where there is no query.

    Reference: the protocols'.
    """

    settings_type = MQARSettings
    protocols: ClassVar[Mapping[str, Protocol]] = PROTOCOLS
    reads = "every"
    settings: MQARSettings

    @property
    def protocol(self) -> MQARProtocol:
        """See `Task.protocol`."""
        return PROTOCOLS[self.settings.protocol]

    @property
    def input_size(self) -> int:
        """V."""
        return self.settings.vocabulary

    @property
    def output_size(self) -> int:
        """V; only values are ever right."""
        return self.settings.vocabulary

    @property
    def length(self) -> int:
        """T, as the settings have it."""
        return self.settings.length

    @property
    def baseline(self) -> float:
        """ln(V / 2): each value is uniform, and its query's step shows the key alone."""
        return math.log(self.settings.vocabulary // 2)

    @property
    def words_per_sequence(self) -> int:
        """For each pair one for the key, the value and the gap; one for each filler."""
        return self.settings.pairs + self.length

    def drawn(self, words: Words) -> Batch:
        """See `SyntheticTask.drawn`."""
        pairs, half, size = self.settings.pairs, self.settings.vocabulary // 2, len(words)
        keys_from, values_from, gaps_from, rest = np.split(words, [pairs, 2 * pairs, 3 * pairs], 1)
        keys = 1 + distinct_integers(keys_from, half - 1)
        values = half + distinct_integers(values_from, half)
        queries = 2 * pairs + 2 * _gaps(gaps_from, self.length // 2 - pairs)
        codes = np.full((self.length, size), FILLER, dtype=np.int64)
        if self.protocol.random_fillers:
            codes[2 * pairs :] = integers(rest, self.settings.vocabulary).T
        codes[0 : 2 * pairs : 2] = keys.T
        codes[1 : 2 * pairs : 2] = values.T
        np.put_along_axis(codes, queries.T, keys.T, axis=0)
        targets = np.full((self.length, size), IGNORED, dtype=np.int64)
        np.put_along_axis(targets, queries.T, values.T, axis=0)
        return Batch(torch.from_numpy(codes), torch.from_numpy(targets))

    def example(self) -> str:
        """See `Task.example`."""
        batch = self.evaluation_set("validation", 1)
        codes = batch.inputs[:, 0].argmax(1).tolist()
        targets = batch.targets[:, 0].tolist()
        rows = {
            "input": ["." if code == FILLER else str(code) for code in codes],
            "target": ["-" if target == IGNORED else str(target) for target in targets],
        }
        queries = [t for t in range(self.length) if targets[t] != IGNORED]
        shown = ends(self.length, min(8, 2 * self.settings.pairs), 1) | set(queries[:5])
        legend = f"(. filler, - not counted, … more of them; {self.length} steps)"
        return "\n".join([*aligned(rows, shown), legend])


def _gaps(words: Words, room: int) -> NDArray[np.int64]:
    """Different gaps in [0, room), one for each word, drawn one after the other.

    Weights are rounded to multiples of 2^-30, so that sums are exact and no platform's `pow` can
    change a draw.
    """
    weights = np.round(2.0**30 * np.arange(1, room + 1) ** (POWER - 1))
    sums = np.tile(weights.cumsum(), (len(words), 1))
    gaps = np.empty(words.shape, dtype=np.int64)
    for i in range(words.shape[1]):
        whole = sums[:, -1]
        # The product may be rounded up to the whole sum, beyond the last gap.
        point = np.minimum(np.floor(uniform64(words[:, i]) * whole), whole - 1)
        beyond = sums > point[:, None]
        gaps[:, i] = beyond.argmax(axis=1)
        sums -= beyond * weights[gaps[:, i], None]
    return gaps
