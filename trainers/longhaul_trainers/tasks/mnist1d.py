"""MNIST-1D: which of ten digits, drawn as a curve of 40 steps and disturbed, was shown?

B sequences, T time steps.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, Literal, final

import torch
from torch import Tensor

from longhaul_trainers.counter import Stream, Words, integers, uniform64
from longhaul_trainers.settings import setting
from longhaul_trainers.tasks.base import WITH_ACCURACY, Batch, Better, Protocol, Score
from longhaul_trainers.tasks.counted import accuracy, cross_entropy
from longhaul_trainers.tasks.epochs import permutation
from longhaul_trainers.tasks.mnist1d_curves import NOISE_WORDS, STEPS, curves
from longhaul_trainers.tasks.synthetic import FiniteProtocol, FiniteSettings, FiniteTask

CLASSES: Final = 10
MEAN: Final = -0.00599
DEVIATION: Final = 0.15468
"""Mean and standard deviation of all numbers of all curves, measured on a million of them."""


@dataclass(frozen=True, kw_only=True)
class MNIST1DProtocol(FiniteProtocol):
    """A protocol of MNIST-1D; ``shuffled``: the steps come in a random order, always the same."""

    shuffled: bool


_SOURCE: Final = (
    "Greydanus, Kobak: Scaling Down Deep Learning with MNIST-1D, ICML 2024, arXiv:2011.14439; code "
    "greydanus/mnist1d"
)
_DEFECTS: Final = (
    "Drawn anew by the authors' recipe, so the sequences are not theirs. They draw 5,000 with each "
    "digit equally often, split them, and shift and scale all of them by the mean and deviation of "
    "the 5,000, test set included; here digits are drawn at random, and the mean and deviation are "
    "those of the recipe. They have no validation set and measure on the test set while training; "
    "the 1,000 validation sequences here are further ones."
)
_README: Final = "from their README"

_PROTOCOLS: Final = (
    MNIST1DProtocol(
        name="greydanus-2020",
        source=_SOURCE,
        summary="40 steps of one number; 4,000 sequences to train, 1,000 to test.",
        batch_size=100,
        steps=8000,
        defects=_DEFECTS,
        published=(
            Score("logistic regression on all 40 numbers", 0.32, note=_README),
            Score("MLP on all 40 numbers", 0.68, note=_README),
            Score("CNN", 0.94, note=_README),
            Score("GRU", 0.91, note=_README),
            Score("a person", 0.96, note=_README),
        ),
        training_size=4000,
        validation_size=1000,
        test_size=1000,
        shuffled=False,
    ),
    MNIST1DProtocol(
        name="greydanus-2020-shuffled",
        source=_SOURCE,
        summary="As greydanus-2020, but the 40 steps come in a random order, the same for all.",
        batch_size=100,
        steps=8000,
        defects=_DEFECTS + " The order is not theirs.",
        published=(
            Score("logistic regression on all 40 numbers", 0.32, note=_README),
            Score("MLP on all 40 numbers", 0.68, note=_README),
            Score("CNN", 0.56, note=_README),
            Score("GRU", 0.57, note=_README),
            Score("a person", 0.3, note=_README + ", about"),
        ),
        training_size=4000,
        validation_size=1000,
        test_size=1000,
        shuffled=True,
    ),
)

PROTOCOLS: Final = {protocol.name: protocol for protocol in _PROTOCOLS}


@dataclass(frozen=True, kw_only=True)
class MNIST1DSettings(FiniteSettings):
    """Which MNIST-1D."""

    name: ClassVar[str] = "mnist1d"

    protocol: Literal["greydanus-2020", "greydanus-2020-shuffled"] = setting(
        "greydanus-2020", structural=True, searchable=False, help="the order of the steps"
    )


@final
class MNIST1D(FiniteTask):
    """A curve of 40 numbers that is one of ten, moved, stretched, sheared and noisy: which one?

    Inputs are (T, B, 1), of mean 0 and deviation 1; the target is (1, B), the digit, at the last
    step. Seconds of training tell cells apart as hours on permuted MNIST do.

    Reference: Greydanus and Kobak (2020), arXiv:2011.14439. How a curve is made is in
    `mnist1d_curves`.
    """

    settings_type = MNIST1DSettings
    protocols: ClassVar[Mapping[str, Protocol]] = PROTOCOLS
    reads = "last"
    settings: MNIST1DSettings

    def __init__(self, settings: MNIST1DSettings) -> None:
        super().__init__(settings)
        self._steps = torch.arange(STEPS)
        if self.protocol.shuffled:
            self._steps = torch.from_numpy(permutation(Stream(settings.name, "order"), STEPS))

    @property
    def protocol(self) -> MNIST1DProtocol:
        """See `Task.protocol`."""
        return PROTOCOLS[self.settings.protocol]

    @property
    def input_size(self) -> int:
        """1."""
        return 1

    @property
    def output_size(self) -> int:
        """10."""
        return CLASSES

    @property
    def length(self) -> int:
        """40."""
        return STEPS

    @property
    def baseline(self) -> float:
        """The logarithm of 10, for all digits are equally likely."""
        return math.log(CLASSES)

    @property
    def baseline_metrics(self) -> dict[str, float]:
        """``accuracy`` of guessing."""
        return {"accuracy": 1 / CLASSES}

    @property
    def words_per_sequence(self) -> int:
        """The digit, four numbers that move and stretch, and noise."""
        return 5 + NOISE_WORDS

    def sequences(self, words: Words) -> Batch:
        """See `DrawnTask.sequences`."""
        digits = integers(words[:, 0], CLASSES)
        drawn = curves(digits, uniform64(words[:, 1:5]), words[:, 5:])
        inputs = torch.from_numpy((drawn - MEAN) / DEVIATION).float()
        return Batch(
            inputs[:, self._steps].T.unsqueeze(2).contiguous(),
            torch.from_numpy(digits).unsqueeze(0),
        )

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean cross entropy in nats, for logits (1, B, 10) and digits (1, B)."""
        return cross_entropy(outputs, targets)

    @property
    def better(self) -> Mapping[str, Better]:
        """See `Task.better`."""
        return WITH_ACCURACY

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """``accuracy``: share of the sequences whose digit the largest logit names."""
        return {"accuracy": accuracy(outputs, targets)}

    def example(self) -> str:
        """See `Task.example`."""
        batch = self.evaluation_set("validation", 1)
        numbers = batch.inputs[:, 0, 0].tolist()
        shown = [*range(7), None, *range(STEPS - 5, STEPS)]
        inputs = ["…" if t is None else f"{numbers[t]:.2f}" for t in shown]
        targets = [""] * (len(shown) - 1) + [str(batch.targets.item())]
        rows = {"input": inputs, "target": targets}
        lines = [f"{name:<8}" + " ".join(f"{c:>6}" for c in row) for name, row in rows.items()]
        return "\n".join([*lines, f"({STEPS} steps)"])
