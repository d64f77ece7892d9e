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
        moved: with ``anywhere``, both are drawn from all steps but the last, each by itself, and
            where they coincide the second moves one step on.
    """

    shortened: int = 0
    end: Literal["length", "twice the first range"] = "length"
    anywhere: bool = False
    moved: bool = False

    def ranges(self, length: int) -> tuple[range, range]:
        """The steps that the first and the second marker may take; equal if ``anywhere``."""
        if self.anywhere:
            steps = range(length - self.moved)
            return steps, steps
        half = (length - self.shortened) // 2
        return range(half), range(half, length if self.end == "length" else 2 * half)

    @property
    def least_length(self) -> int:
        """The shortest sequence with room for both markers."""
        return 2 + self.shortened


@dataclass(frozen=True, kw_only=True)
class AddingProtocol(Protocol):
    """A protocol of the adding task.

    Attributes:
        markers: where they may stand.
        share: what the sum is multiplied by to make the target.
    """

    markers: Markers
    share: float = 1.0


ProtocolName = Literal[
    "arjovsky-2016",
    "bai-2018",
    "helfrich-2018",
    "keller-2024",
    "mhammedi-2017",
    "rusch-2021",
    "vorontsov-2017",
]

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
        name="mhammedi-2017",
        source="Mhammedi, Hellicar, Rahman, Bailey: Efficient Orthogonal Parametrisation of "
        "Recurrent Neural Networks Using Householder Reflections (oRNN), ICML 2017, "
        "arXiv:1612.00188; code zmhammedi/Orthogonal_RNN",
        summary="The markers are anywhere: each at any step but the last; where both fall on one "
        "step, the second moves one on.",
        batch_size=50,
        steps=10_000,
        defects="As their program draws it: neighbouring steps are marked together half as often "
        "again as others, and the last step hardly ever. The first version of the paper has one "
        "marker in each half. They do not say how long they train, 10,000 steps is ours. Their "
        "accuracy is the share of errors below 0.04.",
        markers=Markers(anywhere=True, moved=True),
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
    AddingProtocol(
        name="vorontsov-2017",
        source="Vorontsov, Trabelsi, Kadoury, Pal: On Orthogonality and Learning Recurrent "
        "Networks with Long Term Dependencies, ICML 2017, arXiv:1702.00071; code "
        "veugene/spectre_release",
        summary="One marker in each half of the sequence, fresh sequences; the target is half the "
        "sum, and the baseline 1/24.",
        batch_size=50,
        steps=200_000,
        defects="That the target is halved is in their program, not in the paper, so its curves "
        "are a quarter of the others'. Their program seems to subtract targets (B) from outputs "
        "(B, 1), which pairs every output with every target; here it is pair by pair.",
        markers=Markers(),
        share=0.5,
    ),
)

PROTOCOLS: Final = {protocol.name: protocol for protocol in _PROTOCOLS}
