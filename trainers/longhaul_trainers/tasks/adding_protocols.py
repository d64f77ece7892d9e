"""The adding task as the papers drew it."""

from dataclasses import dataclass
from typing import Final, Literal

from longhaul_trainers.tasks.base import Protocol


@dataclass(frozen=True)
class Markers:
    """Where the two markers of a sequence may stand.

    Each is uniform over a range: the first over [0, h), the second over [h, end).

    Attributes:
        shortened: h is (length - shortened) / 2, rounded down.
        end: ``length``, or ``twice the first range``, which leaves out the last step where the
            length is odd.
        anywhere: instead, the markers are two different steps of the whole sequence.
    """

    shortened: int = 0
    end: Literal["length", "twice the first range"] = "length"
    anywhere: bool = False

    def ranges(self, length: int) -> tuple[range, range]:
        """The steps that the first and the second marker may take; equal if ``anywhere``."""
        if self.anywhere:
            return range(length), range(length)
        half = (length - self.shortened) // 2
        return range(half), range(half, length if self.end == "length" else 2 * half)

    @property
    def least_length(self) -> int:
        """The shortest sequence with room for both markers."""
        return 2 + self.shortened


@dataclass(frozen=True, kw_only=True)
class AddingProtocol(Protocol):
    """A protocol of the adding task."""

    markers: Markers


ProtocolName = Literal["arjovsky-2016", "bai-2018", "helfrich-2018", "keller-2024", "rusch-2021"]

_PROTOCOLS = (
    AddingProtocol(
        name="arjovsky-2016",
        source="Arjovsky, Shah, Bengio: Unitary Evolution Recurrent Neural Networks, ICML 2016, "
        "arXiv:1511.06464; code amarshah/complex_RNN",
        summary="One marker in each half of the sequence.",
        batch_size=20,
        steps=20_000,
        defects="Their training set is 100,000 fixed sequences, here every step has fresh ones. "
        "Batch size and steps are the defaults that their script declares; each run gave its own. "
        "Where the length is odd, the last step is never marked.",
        markers=Markers(end="twice the first range"),
    ),
    AddingProtocol(
        name="bai-2018",
        source="Bai, Kolter, Koltun: An Empirical Evaluation of Generic Convolutional and "
        "Recurrent Networks for Sequence Modeling, 2018, arXiv:1803.01271; code locuslab/TCN",
        summary="The markers are any two different steps.",
        batch_size=32,
        steps=15_630,
        defects="Their training set is 50,000 fixed sequences, passed 10 times; here every step "
        "has fresh ones. The baseline in their README, 0.1767, is a misprint of 0.1667.",
        markers=Markers(anywhere=True),
    ),
    AddingProtocol(
        name="helfrich-2018",
        source="Helfrich, Willmott, Ye: Orthogonal Recurrent Neural Networks with Scaled Cayley "
        "Transform (scoRNN), ICML 2018, arXiv:1707.09520; code SpartinStuff/scoRNN",
        summary="One marker before step (length - 1) / 2, rounded down, one from there on.",
        batch_size=50,
        steps=20_000,
        defects="Their training set is 100,000 fixed sequences, passed 10 times; here every step "
        "has fresh ones.",
        markers=Markers(shortened=1),
    ),
    AddingProtocol(
        name="keller-2024",
        source="Keller, Muller, Sejnowski, Welling: Traveling Waves Encode the Recent Past and "
        "Enhance Sequence Learning (wRNN), ICLR 2024, arXiv:2309.08045; code "
        "akandykeller/Wave_RNNs",
        summary="One marker in each half of the sequence, fresh sequences.",
        batch_size=128,
        steps=60_000,
        defects="Their test set is drawn anew at every test.",
        markers=Markers(),
    ),
    AddingProtocol(
        name="rusch-2021",
        source="Rusch, Mishra: Coupled Oscillatory Recurrent Neural Network (coRNN), ICLR 2021, "
        "arXiv:2010.00951; code tk-rusch/coRNN",
        summary="One marker in each half of the sequence, fresh sequences.",
        batch_size=50,
        steps=60_000,
        defects="Their test set is drawn anew at every test.",
        markers=Markers(),
    ),
)

PROTOCOLS: Final = {protocol.name: protocol for protocol in _PROTOCOLS}
