"""Language models of characters as the papers ran them."""

from dataclasses import dataclass
from typing import Final, Literal

from longhaul_trainers.tasks.base import Score
from longhaul_trainers.tasks.language_model import LanguageModelProtocol


@dataclass(frozen=True, kw_only=True)
class CharactersProtocol(LanguageModelProtocol):
    """A protocol of the characters task.

    Attributes:
        layout: ``lanes``: the text is cut into as many lanes as a batch has sequences, and each
            batch goes on where the one before ended, with its state. ``windows``: stretches of
            equal length, each from the initial state. ``lines``: each line is a sequence.
        length: characters of one sequence; of a line, the most that it may have.
    """

    layout: Literal["lanes", "windows", "lines"]


ProtocolName = Literal["kerg-2019", "vorontsov-2017", "windows"]

_README = "from their README, run again after the paper"

_PROTOCOLS = (
    CharactersProtocol(
        name="kerg-2019",
        source="Kerg, Goyette, Touzel, Gidel, Vorontsov, Bengio, Lajoie: Non-normal Recurrent "
        "Neural Network (nnRNN), NeurIPS 2019, arXiv:1905.12080; code nnRNN/nnRNN_release",
        summary="Back-propagation truncated after 150 characters (also 300), the state carried on. "
        "The training text in 128 lanes, validation and test text in 10. 100 epochs.",
        batch_size=128,
        steps=26_200,
        defects="They embed characters in 200 numbers that are learnt; here they are one-hot. The "
        "characters at the end of a lane that fill no sequence make a shorter one; here they are "
        "left out. Learning rates are halved when the validation loss does not improve; here "
        "they are as configured. Their mean loss is the sum over the characters predicted "
        "divided by that number plus one for each lane. Every seed passes the text in the same "
        "order.",
        published=(
            Score("RNN", 2.89, "bits_per_character", "text: ptb", _README),
            Score("RNN-orth", 1.62, "bits_per_character", "text: ptb", _README),
            Score("EURNN, as many parameters", 1.61, "bits_per_character", "text: ptb", _README),
            Score("expRNN, as many parameters", 1.43, "bits_per_character", "text: ptb", _README),
            Score("nnRNN, n = 1024", 1.40, "bits_per_character", "text: ptb", _README),
            Score("nnRNN, n = 1024", 1.42, "bits_per_character", "length: 300", _README),
        ),
        layout="lanes",
        length=150,
        lanes=10,
    ),
    CharactersProtocol(
        name="vorontsov-2017",
        source="Vorontsov, Trabelsi, Kadoury, Pal: On Orthogonality and Learning Recurrent "
        "Networks with Long Term Dependencies, ICML 2017, arXiv:1702.00071; code "
        "veugene/spectre_release",
        summary="Each sentence by itself, from the initial state; only those of at most 75 "
        "characters, 23 % of the treebank (also 300, over 99 %). Batches of 50, 200 epochs, which "
        "are about 38,700 steps.",
        batch_size=50,
        steps=38_700,
        defects="Their mask counts one character of padding after each sentence; here it does not "
        "count. Characters that training does not have become its first one; here they are "
        "symbols of their own. Their program fails at its present state, for a wrong argument.",
        layout="lines",
        length=75,
    ),
    CharactersProtocol(
        name="windows",
        source="no paper: stretches of a text as often used where no state is carried",
        summary="Stretches of 150 characters, each from the initial state, in a new order each "
        "epoch and beginning elsewhere in the text. Its loss is above that of a state carried on, "
        "for the first characters of each stretch are predicted from few.",
        batch_size=128,
        steps=26_200,
        layout="windows",
        length=150,
    ),
)

PROTOCOLS: Final = {protocol.name: protocol for protocol in _PROTOCOLS}
