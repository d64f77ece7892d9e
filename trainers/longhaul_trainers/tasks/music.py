"""Polyphonic music: which notes sound next.

T time steps, B pieces, 88 pitches.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

from torch import Tensor

from longhaul_trainers.data.piano_rolls import PITCHES
from longhaul_trainers.data.store import open_data
from longhaul_trainers.settings import Settings, setting
from longhaul_trainers.tasks.base import Protocol
from longhaul_trainers.tasks.counted import frame_likelihood
from longhaul_trainers.tasks.music_protocols import (
    COLLECTIONS,
    PROTOCOLS,
    CollectionName,
    ProtocolName,
)
from longhaul_trainers.tasks.next_frame import NextFrameTask, Part
from longhaul_trainers.tasks.rows import aligned
from longhaul_trainers.tasks.stretches import Stretches

_NOTES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
_LOWEST = 21  # the MIDI number of the first pitch, A0
_SHOWN = 12


@dataclass(frozen=True, kw_only=True)
class MusicSettings(Settings):
    """Which music."""

    name: ClassVar[str] = "music"

    protocol: ProtocolName = setting(
        "bai-2018", structural=True, searchable=False, help="how it is run, as a paper had it"
    )
    collection: CollectionName = setting(
        "jsb", structural=True, searchable=False, help="which of the four collections of pieces"
    )
    longest_piece: int | None = setting(
        None,
        ge=1,
        structural=True,
        searchable=False,
        help="training pieces are cut to so many steps, each from the initial state; null: never",
    )


@final
class Music(NextFrameTask):
    """Pieces of polyphonic music: from the notes that sound now, those that sound a frame later.

    A frame has 88 bits, one for each key of a piano; it is a crotchet of the chorales, a quaver
    elsewhere. Inputs are (T, B, 88). Targets are the inputs of the step after, (T, B, 88), NaN
    behind the end of a piece. So the first frame of a piece is never predicted.

    The loss is the negative log-likelihood in nats of independent bits, summed over the pitches and
    averaged over the frames of a set: a long piece counts more than a short one. That is also what
    the papers report, but see the protocols.

    Reference: Boulanger-Lewandowski, Bengio, Vincent, ICML 2012, arXiv:1206.6392, whose split into
    training, validation and test pieces this is.
    """

    settings_type = MusicSettings
    protocols: ClassVar[Mapping[str, Protocol]] = PROTOCOLS
    settings: MusicSettings

    @property
    def protocol(self) -> Protocol:
        """See `Task.protocol`."""
        return PROTOCOLS[self.settings.protocol]

    @property
    def input_size(self) -> int:
        """88."""
        return PITCHES

    @property
    def output_size(self) -> int:
        """88."""
        return PITCHES

    @property
    def longest_piece(self) -> int | None:
        """See `NextFrameTask.longest_piece`."""
        return self.settings.longest_piece

    @property
    def length(self) -> int:
        """T of a training batch; of two collections, only the file tells how long pieces are."""
        known = COLLECTIONS[self.settings.collection].longest
        if known is None:
            return super().length
        return min(known - 1, self.longest_piece or known)

    @property
    def baseline(self) -> float:
        """Nats a frame on the test set where every pitch has its share of the training set.

        The shares are (n_1 + 1) / (n + 2), so that a pitch which never sounds in training is not
        impossible, over the frames that are predicted: all but the first of each piece.
        """
        return COLLECTIONS[self.settings.collection].baseline

    def prepare(self) -> None:
        """See `Task.prepare`."""
        open_data(self.settings.collection)

    def sequences(self, part: Part) -> Stretches:
        """See `NextFrameTask.sequences`."""
        return Stretches.of(open_data(self.settings.collection)[part]["frames"])

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Nats a frame, mean over the counted frames; logits (T, B, 88)."""
        return frame_likelihood(outputs, targets)

    def example(self) -> str:
        """See `Task.example`."""
        batch = self.evaluation_set("validation", 1)
        steps = range(min(_SHOWN, len(batch.inputs)))
        rows = {"step": [str(t) for t in steps]}
        for word, frames in (("input", batch.inputs), ("target", batch.targets)):
            sounding = [frames[t, 0].nonzero().flatten().tolist() for t in steps]
            voices = max(map(len, sounding))
            for voice in range(voices):
                names = [_note(notes[voice]) if voice < len(notes) else "." for notes in sounding]
                rows[f"{word} {voice + 1}"] = names
        title = COLLECTIONS[self.settings.collection].title
        return "\n".join([*aligned(rows), f"(the lowest note first; {title})"])


def _note(pitch: int) -> str:
    octave, tone = divmod(pitch + _LOWEST, 12)
    return f"{_NOTES[tone]}{octave - 1}"
