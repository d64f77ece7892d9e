"""The orders in which the literature permutes pixels, each with its generator.

Papers that "permute the pixels by a fixed permutation" used different ones: a seed names a
permutation only together with the generator, and scores under different ones are not of the same
task. The generators are numpy's `RandomState`, whose stream is frozen, also where the authors used
torch's: both seed the same Mersenne twister, and torch's ``randperm`` is the exchange below.
"""

import hashlib
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Permutation:
    """A named permutation.

    Attributes:
        generator: ``numpy`` for ``RandomState(seed).permutation(n)``, ``torch`` for
            ``torch.manual_seed(seed)`` and then ``torch.randperm(n)``.
        seed: of the generator.
        sha256: of the permutation of 784 pixels as little-endian int32, its first 16 digits.
        used_by: who used it.
    """

    generator: Literal["numpy", "torch"]
    seed: int
    sha256: str
    used_by: str

    def order(self, size: int) -> NDArray[np.int64]:
        """Which pixel is shown at each of ``size`` places."""
        state = np.random.RandomState(self.seed)
        if self.generator == "numpy":
            return state.permutation(size).astype(np.int64)
        words = np.frombuffer(state.bytes(4 * size), "<u4")
        order = np.arange(size)
        for place in range(size - 1):
            other = place + int(words[place]) % (size - place)
            order[place], order[other] = order[other], order[place]
        return order


PermutationName = Literal["numpy-0", "numpy-1234", "numpy-92916", "torch-5544", "torch-12008"]

PERMUTATIONS: Final[dict[str, Permutation]] = {
    "numpy-0": Permutation("numpy", 0, "d3fd1bb9662071eb", "LMU"),
    "numpy-1234": Permutation("numpy", 1234, "330e4672ce04cf48", "nnRNN"),
    "numpy-92916": Permutation("numpy", 92916, "8028ff1eba5833e7", "scoRNN, expRNN, projUNN"),
    "torch-5544": Permutation("torch", 5544, "44b845ec682ec4d0", "UnICORNN, LEM"),
    "torch-12008": Permutation("torch", 12008, "2035d69749290721", "coRNN, LipschitzRNN"),
}


def order_sha256(order: NDArray[np.int64]) -> str:
    """The first 16 digits of the SHA-256 of an order as little-endian int32."""
    return hashlib.sha256(order.astype("<i4").tobytes()).hexdigest()[:16]
