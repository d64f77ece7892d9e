"""Random numbers by address: a draw depends on where it stands, not on what was drawn before.

A `Stream` is named by labels. Its words are addressed by (step, row, column), so the batch of any
training step, or the i-th sequence of an evaluation set, is drawn without drawing anything else.

The generator is Philox 4x64 with ten rounds (Salmon, Moraes, Dror, Shaw, "Parallel Random Numbers:
As Easy as 1, 2, 3", SC 2011). Only its raw output is used, a stream that numpy promises never to
change; the conversions to integers and floats below are this module's own, for numpy's may change.
Everything is integer arithmetic or one exact multiplication by a power of two, hence the same on
every platform.
"""

import hashlib
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]

_BLOCK: Final = 4  # words that one counter value yields
_COUNTER_PERIOD: Final = 1 << 256
_STEP_BIT: Final = 128  # the step is the third 64-bit word of the counter


@final
class Stream:
    """The random words that belong to some labels.

    Args:
        labels: what the numbers are for, for example ``("copying", "training", seed)``. Texts and
            whole numbers are told apart, and no two lists of labels share a stream.
    """

    def __init__(self, *labels: str | int) -> None:
        joined = b"".join(_encode(label) for label in labels)
        self.key = int.from_bytes(hashlib.sha256(joined).digest()[:16], "little")

    def words_of_steps(self, rows: int, width: int, *, step: int, steps: int) -> Words:
        """The words of some steps on end, one below the other, (steps * rows, width).

        Args:
            rows: number of rows of each step.
            width: words in a row.
            step: the first step; all of them are in [0, 2^64).
            steps: how many.
        """
        if not 0 <= step <= step + steps <= 1 << 64:
            raise ValueError(f"steps must be in [0, 2^64), found {step} and {steps} more")
        count = rows * width
        drawn: Words = np.empty((steps, count), dtype=np.uint64)
        generator = np.random.Philox(key=self.key, counter=_before(step << _STEP_BIT))
        for words in drawn:
            words[:] = generator.random_raw(count)
            generator.advance((1 << _STEP_BIT) + -count // _BLOCK)
        return drawn.reshape(steps * rows, width)

    def words(self, rows: int, width: int, *, step: int = 0, first_row: int = 0) -> Words:
        """Independent uniform 64-bit words, shape (rows, width).

        Row r holds words r * width ... (r + 1) * width - 1 of the step. So for a given width it
        depends neither on how many rows are asked for, nor on the first one.

        Args:
            rows: number of rows, one for each sequence.
            width: words in a row; words at another width are other numbers.
            step: in [0, 2^64).
            first_row: index of the first row.
        """
        if not 0 <= step < 1 << 64:
            raise ValueError(f"step must be in [0, 2^64), found {step}")
        first = first_row * width
        block, skipped = divmod(first, _BLOCK)
        counter = (step << _STEP_BIT) + block
        generator = np.random.Philox(key=self.key, counter=_before(counter))
        drawn: Words = generator.random_raw(skipped + rows * width)
        return drawn[skipped:].reshape(rows, width)


def _before(counter: int) -> int:
    # numpy counts up before it draws: started one earlier, block b comes of counter value b.
    return (counter - 1) % _COUNTER_PERIOD


def integers(words: Words, bound: int) -> NDArray[np.int64]:
    """Uniform whole numbers in [0, bound), one for each word.

    The word, read as a fraction of 2^64, is multiplied by ``bound`` and rounded down, exactly.
    Every value's probability is within 2^-64 of 1 / bound, and equal to it where bound is a power
    of two.

    Args:
        words: any shape.
        bound: in [1, 2^32].
    """
    if not 1 <= bound <= 1 << 32:
        raise ValueError(f"bound must be in [1, 2^32], found {bound}")
    return _integers_below(words, np.uint64(bound))


def _integers_below(words: Words, bounds: NDArray[np.uint64] | np.uint64) -> NDArray[np.int64]:
    """As `integers`, perhaps with a bound of its own for each row or column."""
    # The upper half of the 128-bit product, put together from two 64-bit ones, neither of which
    # can overflow.
    half = np.uint64(32)
    low = words & np.uint64(0xFFFF_FFFF)
    low *= bounds
    low >>= half
    high = words >> half
    high *= bounds
    high += low
    high >>= half
    return high.view(np.int64)


def distinct_integers(words: Words, bound: int) -> NDArray[np.int64]:
    """As many different whole numbers in [0, bound) as each row has words, in a random order.

    Every ordered choice is equally likely, as far as `integers` is uniform. With ``bound`` words
    a row, each row is a uniform permutation.

    Args:
        words: shape (rows, count) with count <= bound.
        bound: in [1, 2^32].
    """
    rows, count = words.shape
    if count > bound:
        raise ValueError(f"{count} different numbers below {bound} do not exist")
    # The first steps of Fisher and Yates' shuffle.
    # Row r's number i is numbers[i, r], so that each step of the shuffle is on adjacent memory.
    numbers = np.repeat(np.arange(bound), rows).reshape(bound, rows)
    flat = numbers.reshape(-1)
    steps = np.arange(count)[:, None]
    bounds = (bound - steps).astype(np.uint64)
    places = _integers_below(np.ascontiguousarray(words.T), bounds)
    places += steps
    places *= rows
    places += np.arange(rows)
    for here, there in zip(numbers, places, strict=False):
        chosen = flat[there]
        flat[there] = here
        here[:] = chosen
    return numbers[:count].T


def uniform32(words: Words) -> NDArray[np.float32]:
    """Uniform float32 in [0, 1): multiples of 2^-24 from each word's upper 24 bits."""
    return (words >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)


def uniform64(words: Words) -> NDArray[np.float64]:
    """Uniform float64 in [0, 1): multiples of 2^-53 from each word's upper 53 bits."""
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _encode(label: str | int) -> bytes:
    # With kind and length in front, no label can imitate the boundary between two others.
    kind = "s" if isinstance(label, str) else "i"
    text = str(label).encode()
    return f"{kind}{len(text)}:".encode() + text
