"""The continuous delay: say again what was heard a thousand steps ago."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, Literal, final

import numpy as np
import torch
from numpy.typing import NDArray

from longhaul_trainers.counter import Words
from longhaul_trainers.errors import SettingError
from longhaul_trainers.normal import PER_WORD, normal32
from longhaul_trainers.settings import Settings, setting
from longhaul_trainers.tasks.base import Batch, Protocol
from longhaul_trainers.tasks.regression import RegressionTask, numbers_example
from longhaul_trainers.tasks.synthetic import SyntheticTask

AMPLITUDE: Final = 0.5
"""Root mean square of the noise, before its first value is taken from all of it."""

PROTOCOLS: Final = {
    "gu-2022": Protocol(
        name="gu-2022",
        source="Gu, Johnson, Timalsina, Rudra, Ré: How to Train Your HiPPO: State Space Models "
        "with Generalized Orthogonal Basis Projections, ICLR 2023, arXiv:2206.12037; code "
        "state-spaces/s4",
        summary="4,000 steps of white noise up to half of the highest frequency, of new sequences "
        "at every step; the loss counts all steps, also the first 1,000, whose target is 0.",
        batch_size=50,
        steps=6540,
        defects="A comment in their code says that the published numbers are of a readout four "
        "wide, compared with one target by mistake; here it is as wide as the target. Their "
        "noise has its first value taken from all of it, so that any later input tells a little "
        "of every target: a predictor that remembers nothing can get a quarter below the "
        "baseline. The noise repeats after the last step, which a longer sequence would show. "
        "Batch size is the general default of their configurations; their 16,384 sequences "
        "an epoch, 20 times, are our choice of steps, for none is released.",
    )
}


@dataclass(frozen=True, kw_only=True)
class DelaySettings(Settings):
    """Which noise, and how long to remember it."""

    name: ClassVar[str] = "delay"

    protocol: Literal["gu-2022"] = setting(
        "gu-2022", structural=True, searchable=False, help="the noise, as a paper had it"
    )
    length: int = setting(
        4000, ge=3, structural=True, searchable=False, help="steps of one sequence"
    )
    delay: int = setting(
        1000,
        ge=1,
        structural=True,
        searchable=False,
        help="from an input to its repetition, in steps",
    )
    bandwidth: float = setting(
        0.25,
        gt=0,
        lt=0.5,
        structural=True,
        searchable=False,
        help="highest frequency of the noise, in cycles a step",
    )

    def check(self) -> None:
        """Refuses a delay that leaves nothing to say, and noise without a single frequency."""
        if self.delay >= self.length:
            raise SettingError("delay", f"must be below length, {self.length}, found {self.delay}")
        if self.frequencies < 1:
            least = 1 / self.period
            problem = (
                f"must be at least {least:.4g} at length {self.length}, found {self.bandwidth}"
            )
            raise SettingError("bandwidth", problem)

    @property
    def period(self) -> int:
        """After how many steps the noise repeats: the length, or one more where that is odd."""
        return self.length + self.length % 2

    @property
    def frequencies(self) -> int:
        """How many frequencies the noise is made of: 1 ... J cycles a period."""
        # The least excess is forgiven, for 0.3 * 10 must be 3.
        return int(self.bandwidth * self.period * (1 + 1e-12))


@final
class Delay(RegressionTask, SyntheticTask):
    """Band-limited white noise is heard, and repeated a thousand steps later.

    With length 8 and delay 3::

        input    0.00  0.31 -0.22 -0.47  0.12  0.55  0.08 -0.36
        target   0.00  0.00  0.00  0.00  0.31 -0.22 -0.47  0.12

    Inputs and targets are (T, B, 1). The noise is a sum over the frequencies j = 1 ... J, in cycles
    a period of N steps, with independent standard normal g_j and h_j::

        s(t) = 0.5 / sqrt(J) * sum_j (g_j cos(2 pi j t / N) - h_j sin(2 pi j t / N))
        x(t) = s(t) - s(0)

    Reference: Gu et al. (2022), arXiv:2206.12037; the noise is that of the Nengo simulator.
    """

    settings_type = DelaySettings
    protocols: ClassVar[Mapping[str, Protocol]] = PROTOCOLS
    settings: DelaySettings

    @property
    def protocol(self) -> Protocol:
        """See `Task.protocol`."""
        return PROTOCOLS[self.settings.protocol]

    @property
    def input_size(self) -> int:
        """1."""
        return 1

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
        """The variance of the targets: the mean squared error of always answering 0.

        s has the variance a^2 = 1/4 and the autocorrelation r(k) = sum_j cos(2 pi j k / N) / J, so
        x(k) = s(k) - s(0) has 2 a^2 (1 - r(k)). The target is x(0), x(1), ... after ``delay`` steps
        at which it is 0; the mean over all T steps is 0.375 in the protocol. A predictor that
        uses the present input, which shares s(0) with the target, would get about 3/4 of that.
        """
        settings = self.settings
        lags = np.arange(settings.length - settings.delay)
        angles = 2 * np.pi / settings.period * lags
        cycles = np.arange(1, settings.frequencies + 1)
        correlation = np.array([np.cos(angle * cycles).mean() for angle in angles])
        return float(2 * AMPLITUDE**2 * np.sum(1 - correlation) / settings.length)

    @property
    def baseline_metrics(self) -> dict[str, float]:
        """``rmse`` and ``nrmse`` of always answering 0."""
        return {"rmse": self.baseline**0.5, "nrmse": 1.0}

    @property
    def words_per_sequence(self) -> int:
        """Four normal numbers a word, two for each frequency."""
        return -(-2 * self.settings.frequencies // PER_WORD)

    def drawn(self, words: Words) -> Batch:
        """See `SyntheticTask.drawn`."""
        settings = self.settings
        noise = torch.from_numpy(self._noise(words)[:, : settings.length].T.copy()).unsqueeze(2)
        targets = torch.zeros_like(noise)
        targets[settings.delay :] = noise[: -settings.delay]
        return Batch(noise, targets)

    def example(self) -> str:
        """See `Task.example`."""
        batch = self.evaluation_set("validation", 1)
        return numbers_example(batch.inputs[:, 0, 0], batch.targets[:, 0, 0])

    def _noise(self, words: Words) -> NDArray[np.float32]:
        """One period of x in each row, (B, N)."""
        count, period = self.settings.frequencies, self.settings.period
        drawn = normal32(words)[:, : 2 * count].astype(np.float64)
        spectrum = np.zeros((len(words), period // 2 + 1), dtype=np.complex128)
        spectrum[:, 1 : count + 1] = drawn[:, :count] + 1j * drawn[:, count:]
        # The inverse transform divides by N and adds each frequency's conjugate.
        signal = np.fft.irfft(spectrum, n=period) * (AMPLITUDE * period / 2 / count**0.5)
        heard: NDArray[np.float32] = (signal - signal[:, :1]).astype(np.float32)
        return heard
