"""Normal random numbers from words, the same on every platform.

Logarithms and cosines differ in their last bits from one machine to the next, so no usual method
will do where the numbers of an evaluation set are hashed. Here 16 bits choose one of 65,536
quantiles of the standard normal distribution, all equally likely: means and moments agree with the
exact distribution to about 1e-4, and no number is beyond 4.33.
"""

from functools import cache
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from longhaul_trainers.counter import Words

PER_WORD: Final = 4
"""Numbers made from one 64-bit word."""
_QUANTILES: Final = 1 << 16


def normal32(words: Words) -> NDArray[np.float32]:
    """Independent standard normal float32, four a word: (..., W) words give (..., 4 W) numbers."""
    codes = np.ascontiguousarray(words.astype("<u8", copy=False)).view("<u2")
    numbers: NDArray[np.float32] = _quantiles()[codes]
    return numbers


@cache
def _quantiles() -> NDArray[np.float32]:
    # The upper half alone is computed, so that the lower one is its mirror image to the bit.
    exact = NormalDist()
    half = _QUANTILES // 2
    upper = [exact.inv_cdf((half + k + 0.5) / _QUANTILES) for k in range(half)]
    above = np.array(upper, dtype=np.float64).astype(np.float32)
    table = np.concatenate([-above[::-1], above])
    table.setflags(write=False)
    return table
