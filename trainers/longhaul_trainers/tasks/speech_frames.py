"""Speech as frames of log power: what the next frame is.

T time steps, B recordings, 129 bins.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, final

import numpy as np
from torch import Tensor

from longhaul_trainers.data.spectrogram import BINS
from longhaul_trainers.data.store import open_data
from longhaul_trainers.settings import Settings, setting
from longhaul_trainers.tasks.base import Protocol
from longhaul_trainers.tasks.counted import squared_error
from longhaul_trainers.tasks.next_frame import NextFrameTask, Part
from longhaul_trainers.tasks.rows import aligned
from longhaul_trainers.tasks.speech_protocols import PROTOCOLS, ProtocolName, SpeechProtocol
from longhaul_trainers.tasks.stretches import Stretches

_SHOWN_BINS = (4, 16, 64)
_SHOWN = 12


@dataclass(frozen=True, kw_only=True)
class SpeechFramesSettings(Settings):
    """Which speech."""

    name: ClassVar[str] = "speech_frames"

    protocol: ProtocolName = setting(
        "spoken-digits",
        structural=True,
        searchable=False,
        help="recordings, splits and what is asked for, as a paper had it",
    )
    longest_piece: int | None = setting(
        None,
        ge=1,
        structural=True,
        searchable=False,
        help="training recordings are cut to so many frames, each from the initial state; "
        "null: never",
    )


@final
class SpeechFrames(NextFrameTask):
    """Speech: from the frames so far, the next one.

    A frame is the log power in dB, 10 log10(1e-5 + |X|^2), of 129 frequencies from 0 to 4 kHz in
    32 ms of speech; there is one each 16 ms. Inputs are (T, B, 129). Targets are the frames one
    step later, (T, B, 129), NaN behind the end of a recording. The loss is the mean squared error
    in dB^2 over all counted frames and bins.

    Reference: task of Wisdom et al. (2016), arXiv:1611.00035, section 4.4. The variants are in
    `speech_protocols`.
    """

    settings_type = SpeechFramesSettings
    protocols: ClassVar[Mapping[str, Protocol]] = PROTOCOLS
    settings: SpeechFramesSettings

    def __init__(self, settings: SpeechFramesSettings) -> None:
        super().__init__(settings)
        self.ahead = self.protocol.ahead

    @property
    def protocol(self) -> SpeechProtocol:
        """See `Task.protocol`."""
        return PROTOCOLS[self.settings.protocol]

    @property
    def input_size(self) -> int:
        """129."""
        return BINS

    @property
    def output_size(self) -> int:
        """129."""
        return BINS

    @property
    def longest_piece(self) -> int | None:
        """See `NextFrameTask.longest_piece`."""
        return self.settings.longest_piece

    @property
    def length(self) -> int:
        """T of a training batch."""
        known = self.protocol.longest
        return super().length if known is None else min(known, self.longest_piece or known)

    @property
    def baseline(self) -> float:
        """Mean squared error on the test set of always answering with the training set's mean.

        One mean a bin, over the frames that are asked for in training. Answering with the frame
        that was just read, which needs no memory either but is not learnt from the targets, is
        `persistence`.
        """
        known = self.protocol.baseline
        return self._mean_error if known is None else known

    @property
    def persistence(self) -> float:
        """Mean squared error on the test set of answering with the frame that was just read."""
        known = self.protocol.persistence
        return self._step_error if known is None else known

    def prepare(self) -> None:
        """See `Task.prepare`."""
        open_data(self.protocol.data)

    def sequences(self, part: Part) -> Stretches:
        """See `NextFrameTask.sequences`."""
        return Stretches.of(open_data(self.protocol.data)[self.protocol.parts[part]]["frames"])

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean squared error in dB^2 over the counted frames; outputs (T, B, 129)."""
        return squared_error(outputs, targets)

    def example(self) -> str:
        """See `Task.example`."""
        batch = self.evaluation_set("validation", 1)
        steps = range(1, min(_SHOWN + 1, len(batch.inputs)))
        rows = {"frame": [str(t) for t in steps]}
        for word, frames in (("input", batch.inputs), ("target", batch.targets)):
            for b in _SHOWN_BINS:
                rows[f"{word} {b}"] = [f"{frames[t, 0, b].item():.0f}" for t in steps]
        note = (
            f"(dB in bins {', '.join(map(str, _SHOWN_BINS))} of {BINS}; from {self.protocol.data})"
        )
        return "\n".join([*aligned(rows), note])

    @cached_property
    def _mean_error(self) -> float:
        mean = self.asked("train").mean(axis=0, dtype=np.float64)
        return float(np.square(self.asked("test") - mean).mean())

    @cached_property
    def _step_error(self) -> float:
        frames = self.sequences("test")
        squares = [
            np.square(np.diff(frames[i].astype(np.float64), axis=0)) for i in range(len(frames))
        ]
        return float(np.concatenate(squares).mean())
