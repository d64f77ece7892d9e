"""The adding task: the sum of two marked numbers among many.

B sequences, T time steps.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import mse_loss

from longhaul_trainers.counter import Words, integers, uniform32
from longhaul_trainers.errors import SettingError
from longhaul_trainers.settings import Settings, setting
from longhaul_trainers.tasks.adding_protocols import PROTOCOLS, AddingProtocol, ProtocolName
from longhaul_trainers.tasks.base import Batch, Protocol, Solved
from longhaul_trainers.tasks.synthetic import SyntheticTask


@dataclass(frozen=True, kw_only=True)
class AddingSettings(Settings):
    """Which adding task."""

    name: ClassVar[str] = "adding"

    protocol: ProtocolName = setting(
        "arjovsky-2016",
        structural=True,
        searchable=False,
        help="where markers go, as a paper had it",
    )
    length: int = setting(
        100, ge=2, structural=True, searchable=False, help="steps of one sequence"
    )

    def check(self) -> None:
        """Refuses a length without room for both markers."""
        least = PROTOCOLS[self.protocol].markers.least_length
        if self.length < least:
            problem = f"protocol {self.protocol} needs at least {least}, found {self.length}"
            raise SettingError("length", problem)


@final
class Adding(SyntheticTask):
    """A number and a flag at every step; at the last one, the sum of the two flagged numbers.

    With length 8::

        value    0.42 0.91 0.13 0.77 0.05 0.60 0.38 0.29
        marker      .    1    .    .    .    .    1    .
        target                                      1.29

    Inputs are (T, B, 2): a number uniform in [0, 1), and 1 at two steps, else 0. The target is
    (1, B, 1), at the last step.

    Reference: task of Hochreiter and Schmidhuber (1997) in the form of Le, Jaitly, Hinton (2015),
    arXiv:1504.00941. The variants are in `adding_protocols`.
    Differs from Hochreiter and Schmidhuber: fixed length, numbers in [0, 1), plain sum.
    """

    settings_type = AddingSettings
    protocols: ClassVar[Mapping[str, Protocol]] = PROTOCOLS
    reads = "last"
    settings: AddingSettings

    @property
    def protocol(self) -> AddingProtocol:
        """See `Task.protocol`."""
        return PROTOCOLS[self.settings.protocol]

    @property
    def input_size(self) -> int:
        """2."""
        return 2

    @property
    def output_size(self) -> int:
        """1."""
        return 1

    @property
    def length(self) -> int:
        """T, as the settings have it."""
        return self.settings.length

    @property
    def baseline(self) -> float:
        """1/6: the mean squared error of always answering 1; 1/24 where the target is half the sum.

        The sum of two independent numbers uniform in [0, 1) has mean 1 and variance 2/12, wherever
        the markers are, and half of it a quarter of that variance. As published, this does not use
        the last input, although it is at hand when the answer is due; using it would save a share
        of about 1 / T.
        """
        return self.protocol.share**2 / 6

    @property
    def solved(self) -> Solved:
        """A root mean squared error of 0.08 of the sum.

        Hochreiter and Schmidhuber 1997 count an answer as right whose error is below 0.04; theirs
        is half of the sum of two numbers in [0, 1).
        """
        bound = (2 * 0.04 * self.protocol.share) ** 2
        source = "errors of 0.04 in half of the sum, as Hochreiter and Schmidhuber 1997 allow"
        return Solved("loss", round(bound, 12), source)

    @property
    def words_per_sequence(self) -> int:
        """Two for the markers, one for each number."""
        return 2 + self.settings.length

    def drawn(self, words: Words) -> Batch:
        """See `SyntheticTask.drawn`."""
        steps = self._marked_steps(words[:, :2])
        sequence = np.arange(len(words))[:, None]
        values = uniform32(words[:, 2:])
        inputs = np.zeros((self.length, len(words), 2), dtype=np.float32)
        inputs[:, :, 0] = values.T
        inputs[steps, sequence, 1] = 1.0
        marked = values[sequence, steps]
        total = (marked[:, 0] + marked[:, 1]).reshape(1, -1, 1)
        targets = total * np.float32(self.protocol.share)
        return Batch(torch.from_numpy(inputs), torch.from_numpy(targets))

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean squared error; both arguments are (1, B, 1)."""
        return mse_loss(outputs, targets)

    def example(self) -> str:
        """See `Task.example`."""
        batch = self.evaluation_set("validation", 1)
        values, flags = batch.inputs[:, 0, 0].tolist(), batch.inputs[:, 0, 1].tolist()
        last = self.length - 1
        near = {0, last} | {t + d for t in range(last + 1) if flags[t] for d in (-1, 0, 1)}
        rows: dict[str, list[str]] = {"value": [], "marker": [], "target": []}
        previous = -1
        for t in sorted(near & set(range(last + 1))):
            if t > previous + 1:
                for name, row in rows.items():
                    row.append("" if name == "target" else "…")
            answer = f"{batch.targets[0, 0, 0].item():.2f}" if t == last else ""
            rows["value"].append(f"{values[t]:.2f}")
            rows["marker"].append("1" if flags[t] else ".")
            rows["target"].append(answer)
            previous = t
        lines = [f"{name:<8}" + " ".join(f"{c:>4}" for c in row) for name, row in rows.items()]
        return "\n".join([*lines, f"({self.length} steps)"])

    def _marked_steps(self, words: Words) -> NDArray[np.int64]:
        """The steps of both markers, (B, 2), from two words a sequence."""
        markers = self.protocol.markers
        first, second = markers.ranges(self.length)
        distinct = markers.anywhere and not markers.moved
        steps = np.stack(
            [
                first.start + integers(words[:, 0], len(first)),
                second.start + integers(words[:, 1], len(second) - distinct),
            ],
            axis=1,
        )
        if markers.moved:
            steps[:, 1] += steps[:, 1] == steps[:, 0]
        elif markers.anywhere:
            # One step fewer to choose from, and from the first marker on all are one later.
            steps[:, 1] += steps[:, 1] >= steps[:, 0]
        return steps
