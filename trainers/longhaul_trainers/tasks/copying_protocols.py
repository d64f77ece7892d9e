"""The copying task as the papers laid it out."""

from dataclasses import dataclass
from typing import Final, Literal

from longhaul_trainers.tasks.base import Protocol

PATTERN: Final = 10
"""Symbols to remember and to recall, in every protocol."""
SYMBOLS: Final = 8
"""Different symbols; their codes are 1 ... 8."""
BLANK: Final = 0
"""Code of the blank, as input and as target."""
MARKER: Final = 9
"""Code of the marker, an input only."""
CODES: Final = 10
"""Different inputs: blank, symbols, marker."""


@dataclass(frozen=True)
class Layout:
    """Where things stand in a sequence: pattern, blanks, markers, blanks. It ends with the recall.

    Attributes:
        extra_blanks: blanks before the first marker, less the delay.
        markers: how many markers follow each other.
        blanks_after: blanks between the last marker and the end.
        classes: width of the readout; 10 where the marker has one that is never right.
        counted: the steps of which the loss is the mean.
        moving: the marker may come at any step from the second blank on, each as likely, and
            blanks follow the recall; ``extra_blanks`` and ``blanks_after`` are where it is latest.
    """

    extra_blanks: int
    markers: int
    blanks_after: int
    classes: int
    counted: Literal["every", "recalled"] = "every"
    moving: bool = False

    @property
    def least_delay(self) -> int:
        """The smallest delay that leaves room for the layout."""
        return 2 if self.moving else max(1, -self.extra_blanks)

    def codes(self, delay: int) -> list[int]:
        """The inputs after the pattern, in order; all blanks where the marker moves."""
        if self.moving:
            return [BLANK] * (delay + self.extra_blanks + self.markers + self.blanks_after)
        blanks = [BLANK] * (delay + self.extra_blanks)
        return blanks + [MARKER] * self.markers + [BLANK] * self.blanks_after


@dataclass(frozen=True, kw_only=True)
class CopyingProtocol(Protocol):
    """A protocol of the copying task."""

    layout: Layout


ProtocolName = Literal[
    "arjovsky-2016",
    "bai-2018",
    "gu-2020",
    "helfrich-2018",
    "keller-2024",
    "kerg-2019",
    "lezcano-2019",
    "mhammedi-2017",
    "mhammedi-2017-variable",
]

_AFTER_THE_MARKER: Final = Layout(extra_blanks=-1, markers=1, blanks_after=PATTERN, classes=9)

_MHAMMEDI: Final = (
    "Mhammedi, Hellicar, Rahman, Bailey: Efficient Orthogonal Parametrisation of Recurrent Neural "
    "Networks Using Householder Reflections (oRNN), ICML 2017, arXiv:1612.00188; code "
    "zmhammedi/Orthogonal_RNN"
)
_MHAMMEDI_DEFECTS: Final = (
    "Their training set is fixed, 100 sequences unless told otherwise; here every step has fresh "
    "ones. They do not say how long they train on it: batch size and steps are those of "
    "arjovsky-2016. It is in their program, not in the first version of the paper."
)

_PROTOCOLS = (
    CopyingProtocol(
        name="arjovsky-2016",
        source="Arjovsky, Shah, Bengio: Unitary Evolution Recurrent Neural Networks, ICML 2016, "
        "arXiv:1511.06464; code amarshah/complex_RNN",
        summary="Delay - 1 blanks, one marker, recall from the step after the marker; the delay "
        "is from the last symbol of the pattern to the marker. Length delay + 20, 9 classes, loss "
        "over all steps.",
        batch_size=20,
        steps=20_000,
        defects="Their training set is 100,000 fixed sequences, here every step has fresh ones. "
        "Batch size and steps are the defaults that their script declares; each run gave its own.",
        layout=_AFTER_THE_MARKER,
    ),
    CopyingProtocol(
        name="bai-2018",
        source="Bai, Kolter, Koltun: An Empirical Evaluation of Generic Convolutional and "
        "Recurrent Networks for Sequence Modeling, 2018, arXiv:1803.01271; code locuslab/TCN",
        summary="As arjovsky-2016, but the last 11 inputs are all markers, which cues every "
        "recalled step and makes the task easier. 10 classes.",
        batch_size=32,
        steps=15_650,
        defects="They feed the code as one number, here it is one-hot. Their training set is "
        "10,000 fixed sequences, passed 50 times; here every step has fresh ones. They clip the "
        "gradient before it is computed, which clips nothing.",
        layout=Layout(extra_blanks=-1, markers=PATTERN + 1, blanks_after=0, classes=10),
    ),
    CopyingProtocol(
        name="gu-2020",
        source="Gu, Dao, Ermon, Rudra, Ré: HiPPO: Recurrent Memory with Optimal Polynomial "
        "Projections, NeurIPS 2020, arXiv:2008.07669; code HazyResearch/hippo-code, carried on in "
        "state-spaces/s4",
        summary="As many blanks as the delay says, then 10 markers; recall begins at the first of "
        "them and is all that the loss counts. 10 classes. With the pattern in front, not spread.",
        batch_size=100,
        steps=24_750,
        defects="Their training set is 49,500 fixed sequences, passed 50 times; here every step "
        "has fresh ones. Batch size and epochs are the defaults of their configuration.",
        layout=Layout(
            extra_blanks=0, markers=PATTERN, blanks_after=0, classes=10, counted="recalled"
        ),
    ),
    CopyingProtocol(
        name="helfrich-2018",
        source="Helfrich, Willmott, Ye: Orthogonal Recurrent Neural Networks with Scaled Cayley "
        "Transform (scoRNN), ICML 2018, arXiv:1707.09520; code SpartinStuff/scoRNN",
        summary="The layout of arjovsky-2016 with a shorter training.",
        batch_size=20,
        steps=10_000,
        defects="Their training set is 20,000 fixed sequences, passed 10 times; here every step "
        "has fresh ones. In one version of their script, batches after the first pass run on to "
        "the end of the training set.",
        layout=_AFTER_THE_MARKER,
    ),
    CopyingProtocol(
        name="keller-2024",
        source="Keller, Muller, Sejnowski, Welling: Traveling Waves Encode the Recent Past and "
        "Enhance Sequence Learning (wRNN), ICLR 2024, arXiv:2309.08045; code "
        "akandykeller/Wave_RNNs",
        summary="The delay counts the pattern: length delay + 10, with delay - 11 blanks before "
        "the marker. Recall from the step after the marker, 10 classes, loss over all steps.",
        batch_size=128,
        steps=60_000,
        defects="Their loss is divided by the batch size once more; here it is the mean itself, "
        "so multiply theirs by 128 (training) or 50 (test) to compare. At delay 10, which they "
        "run, their marker overwrites the last symbol of the pattern; here delays start at 11.",
        layout=Layout(extra_blanks=-11, markers=1, blanks_after=PATTERN, classes=10),
    ),
    CopyingProtocol(
        name="kerg-2019",
        source="Kerg, Goyette, Touzel, Gidel, Vorontsov, Bengio, Lajoie: Non-normal Recurrent "
        "Neural Network (nnRNN), NeurIPS 2019, arXiv:1905.12080; code nnRNN/nnRNN_release",
        summary="The layout of arjovsky-2016 with a short training on fresh sequences.",
        batch_size=10,
        steps=1_500,
        defects="Their script feeds the code as one number unless told otherwise; the parameter "
        "counts they publish are those of one-hot inputs, as here. The loss in their logs "
        "includes the penalty on the eigenvalues' moduli; here it does not.",
        layout=_AFTER_THE_MARKER,
    ),
    CopyingProtocol(
        name="lezcano-2019",
        source="Lezcano-Casado, Martínez-Rubio: Cheap Orthogonal Constraints in Neural Networks "
        "(expRNN), ICML 2019, arXiv:1901.08428; code Lezcano/expRNN",
        summary="As many blanks as the delay says, one marker, 9 blanks; recall begins at the "
        "marker itself. Length delay + 20, 9 classes, loss over all steps.",
        batch_size=128,
        steps=4_000,
        defects="Their accuracy is over all steps, of which the blanks are easy; here it is over "
        "the recalled ones. Their test set is a single batch, drawn after training.",
        layout=Layout(extra_blanks=0, markers=1, blanks_after=PATTERN - 1, classes=9),
    ),
    CopyingProtocol(
        name="mhammedi-2017",
        source=_MHAMMEDI,
        summary="The layout of arjovsky-2016 with 10 classes: the marker has one that is never "
        "right.",
        batch_size=20,
        steps=20_000,
        defects=_MHAMMEDI_DEFECTS,
        layout=Layout(extra_blanks=-1, markers=1, blanks_after=PATTERN, classes=10),
    ),
    CopyingProtocol(
        name="mhammedi-2017-variable",
        source=f"{_MHAMMEDI}, there `copyingVariable`",
        summary="As mhammedi-2017, but the marker comes at any step from the second blank to the "
        "last one that leaves room for the recall, each as likely; blanks follow the recall. So a "
        "clock does not tell when to begin.",
        batch_size=20,
        steps=20_000,
        defects=_MHAMMEDI_DEFECTS,
        layout=Layout(extra_blanks=-1, markers=1, blanks_after=PATTERN, classes=10, moving=True),
    ),
)

PROTOCOLS: Final = {protocol.name: protocol for protocol in _PROTOCOLS}
