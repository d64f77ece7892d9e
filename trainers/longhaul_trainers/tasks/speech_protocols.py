"""Predicting frames of speech as the papers ran it."""

from dataclasses import dataclass
from typing import Final, Literal

from longhaul_trainers.tasks.base import Protocol, Score
from longhaul_trainers.tasks.next_frame import Part


@dataclass(frozen=True, kw_only=True)
class SpeechProtocol(Protocol):
    """A protocol of speech frames.

    Attributes:
        data: the name of the data set.
        parts: which of its tables is the validation set, which the test set.
        ahead: steps from the frame that is read to the one that is asked for.
        longest: frames with a target of the longest training recording; None where only the
            files can tell.
        baseline: see `SpeechFrames.baseline`; None where only the files can tell.
        persistence: the loss of answering with the frame that was just read, on the test set.
    """

    data: str
    parts: dict[Part, str]
    ahead: int = 1
    longest: int | None = None
    baseline: float | None = None
    persistence: float | None = None


ProtocolName = Literal["lezcano-2019", "spoken-digits", "wisdom-2016"]

_SURVEYS = "as surveys of the field quote it"
_TIMIT = (
    "129 bins of log power of 32 ms frames at 8 kHz, one each 16 ms; no SA sentences, so 3,640 "
    "for training, 400 of the development set and 192 of the core test set."
)

_PROTOCOLS = (
    SpeechProtocol(
        name="lezcano-2019",
        source="Lezcano-Casado, Martínez-Rubio: Cheap Orthogonal Constraints in Neural Networks "
        "(expRNN), ICML 2019, arXiv:1901.08428; code Lezcano/expRNN; also in Lezcano-Casado "
        "(dtriv), NeurIPS 2019, arXiv:1909.09501",
        summary=f"TIMIT: {_TIMIT} Mean over the frames that are there. 1,200 epochs of batches of "
        "128. As published, so not for comparisons with wisdom-2016.",
        batch_size=128,
        steps=34_800,
        defects="Development and core test set have changed places: the 400 are the test set, the "
        "192 the validation set. And as their README has the arrays saved, what is read is the "
        "frame after the one that is asked for: the answer is the frame that was read one step "
        "before, so nothing is predicted, and an error of zero is possible. In both, it is here "
        "as they have it.",
        published=(
            Score("expRNN, n = 224", 5.3, "loss", "", _SURVEYS),
            Score("expRNN, n = 322", 4.4, "loss", "", _SURVEYS),
            Score("expRNN, n = 425", 5.5, "loss", "", _SURVEYS),
            Score("dtriv, n = 224", 4.7, "loss", "", _SURVEYS),
            Score("dtriv, n = 322", 3.8, "loss", "", _SURVEYS),
            Score("dtriv, n = 425", 2.0, "loss", "", _SURVEYS),
        ),
        data="timit",
        parts={"train": "train", "validation": "core", "test": "development"},
        ahead=-1,
    ),
    SpeechProtocol(
        name="spoken-digits",
        source="no paper: the Free Spoken Digit Dataset of Jackson et al. under the protocol of "
        "wisdom-2016",
        summary="An open stand-in for TIMIT, which is licensed: scores are not those of TIMIT. "
        "Frames as wisdom-2016. 2,400 recordings for training; the official test set, recordings 0 "
        "to 4 of each speaker and digit (300); recordings 5 to 9 for validation (300). All six "
        "speakers are in all three. Answering with the frame just read has a loss of 57.15.",
        batch_size=28,
        steps=13_000,
        data="spoken_digits",
        parts={"train": "train", "validation": "validation", "test": "test"},
        longest=146,
        baseline=197.0276505,
        persistence=57.1477497,
    ),
    SpeechProtocol(
        name="wisdom-2016",
        source="Wisdom, Powers, Hershey, Le Roux, Atlas: Full-Capacity Unitary Recurrent Neural "
        "Networks, NIPS 2016, arXiv:1611.00035; code stwisdom/urnn",
        summary=f"TIMIT: {_TIMIT} The next frame is predicted. Early stopping by the development "
        "set, scores on the core test set. Batches of 28, at most 100 epochs.",
        batch_size=28,
        steps=13_000,
        defects="Their mean squared error is over all frames of the padded arrays, in which the "
        "padding counts as no error: their numbers are smaller by the share of padding. Here it "
        "is over the frames that are there. As with them, the frame after the last is silence "
        "and counts.",
        data="timit",
        parts={"train": "train", "validation": "development", "test": "core"},
    ),
)

PROTOCOLS: Final = {protocol.name: protocol for protocol in _PROTOCOLS}
