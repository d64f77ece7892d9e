"""Polyphonic music as the papers ran it."""

from dataclasses import dataclass
from typing import Final, Literal

from longhaul_trainers.tasks.base import Protocol, Score

CollectionName = Literal["jsb", "nottingham", "muse", "piano"]


@dataclass(frozen=True)
class Collection:
    """One of the four collections in the split of Boulanger-Lewandowski et al. 2012.

    Attributes:
        title: what is in it.
        longest: frames of the longest training piece; None where only the file can tell.
        baseline: see `Music.baseline`.
    """

    title: str
    longest: int | None
    baseline: float


COLLECTIONS: Final[dict[CollectionName, Collection]] = {
    "jsb": Collection("four-part chorales by J. S. Bach", 129, 11.09232322),
    "nottingham": Collection("folk tunes with chords", 1788, 10.26066790),
    "muse": Collection("orchestral and piano music", None, 11.52),
    "piano": Collection("piano music", None, 11.05),
}

ProtocolName = Literal["bai-2018"]

_BAI = "as surveys of the field quote it"

_PROTOCOLS = (
    Protocol(
        name="bai-2018",
        source="Bai, Kolter, Koltun: An Empirical Evaluation of Generic Convolutional and "
        "Recurrent Networks for Sequence Modeling, 2018, arXiv:1803.01271; code locuslab/TCN; "
        "data: Boulanger-Lewandowski, Bengio, Vincent: Modeling Temporal Dependencies in "
        "High-Dimensional Sequences, ICML 2012, arXiv:1206.6392",
        summary="Every frame but the first is predicted from those before it, and the loss is "
        "summed over the 88 pitches. One piece a batch, 100 epochs: 22,900 steps on the chorales, "
        "69,400 on Nottingham.",
        batch_size=1,
        steps=22_900,
        defects="They train on the sum over the frames of a piece, so long pieces count more and "
        "the learning rate grows with them; here it is the mean over the frames of a batch. They "
        "clip the gradient before it is computed, which clips nothing. They divide the learning "
        "rate by 10 whenever the validation loss is above the worst of the last three; here it "
        "is as configured. Their validation and test scores are sums over all frames divided by "
        "the number of frames, as here; means of each piece's mean are other numbers.",
        published=(
            Score("LSTM", 8.45, "loss", "collection: jsb", _BAI),
            Score("GRU", 8.43, "loss", "collection: jsb", _BAI),
            Score("RNN", 8.91, "loss", "collection: jsb", _BAI),
            Score("TCN", 8.10, "loss", "collection: jsb", _BAI),
            Score("LSTM", 3.29, "loss", "collection: nottingham", _BAI),
            Score("GRU", 3.46, "loss", "collection: nottingham", _BAI),
            Score("RNN", 4.05, "loss", "collection: nottingham", _BAI),
            Score("TCN", 3.07, "loss", "collection: nottingham", _BAI),
        ),
    ),
)

PROTOCOLS: Final = {protocol.name: protocol for protocol in _PROTOCOLS}
