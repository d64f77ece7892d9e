"""Initial skew-symmetric matrices A, by the names the field uses.

All but ``random`` put independent 2x2 blocks [[0, s], [-s, 0]] on the diagonal; with an odd size
the last unit stays alone with 0. What rotation a block becomes depends on the map:

=============== ======================= =================== ===========================
name            s                       angle under exp     angle under Cayley, D = I
=============== ======================= =================== ===========================
henaff          uniform on (-pi, pi)    s: uniform          -2 atan(s): within ±2.53
henaff_negative uniform on (-pi, 0)     s: uniform          -2 atan(s): in (0, 2.53)
cayley          -tan(u/2),              s: in (-1, 0)       u: uniform on (0, pi/2)
                u uniform on (0, pi/2)
=============== ======================= =================== ===========================

``random`` is the real logarithm of a rotation from the Haar measure, a full matrix: under exp W is
that rotation. Only it mixes the coordinates.

The eigenvalues of a block come in conjugate pairs, so ``henaff`` and ``henaff_negative``, the form
in which Kerg et al. 2019 (arXiv:1905.12080) use it, draw the same spectra.

So one name means another spectrum in another cell: scoRNN's own initialiser, named ``cayley``,
gives under exp only slow rotations of less than one radian a step, 0.44 on average instead of
0.79; and ``henaff`` gives under Cayley mostly fast ones, with none near pi.

Reference: ``henaff``: Henaff, Szlam, LeCun, "Recurrent Orthogonal Networks and Long-Memory Tasks",
ICML 2016, arXiv:1602.06662. ``cayley``: Helfrich, Willmott, Ye, "Orthogonal Recurrent Neural
Networks with Scaled Cayley Transform", ICML 2018, arXiv:1707.09520.
"""

import math
from typing import Literal

import torch
from torch import Tensor

from longhaul_trainers.initialisation import haar_rotation, uniform
from longhaul_trainers.matrices.rotation_logarithm import rotation_logarithm

SkewInit = Literal["henaff", "henaff_negative", "cayley", "random"]


def draw_block_angles(init: SkewInit, blocks: int, generator: torch.Generator) -> Tensor:
    """The entries s of so many 2x2 blocks, shape (blocks,); ``random`` has none."""
    if init == "henaff":
        return uniform(-math.pi, math.pi, blocks, generator=generator)
    if init == "henaff_negative":
        return uniform(-math.pi, 0, blocks, generator=generator)
    if init == "random":
        raise ValueError("init 'random' is a full matrix, not made of blocks: use draw_skew")
    return -torch.tan(uniform(0, math.pi / 2, blocks, generator=generator) / 2)


def draw_skew(init: SkewInit, size: int, generator: torch.Generator) -> Tensor:
    """The strictly upper entries of A, row after row, shape (size (size - 1) / 2,)."""
    upper = torch.zeros(size, size)
    if init == "random":
        upper = rotation_logarithm(haar_rotation(size, generator)).float()
    else:
        first = torch.arange(0, size - 1, 2)
        upper[first, first + 1] = draw_block_angles(init, size // 2, generator)
    rows, columns = torch.triu_indices(size, size, offset=1)
    return upper[rows, columns]
