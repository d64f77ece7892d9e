"""How the curves of MNIST-1D are made.

A template of 12 numbers gets zeros behind it, is stretched to 72 steps, scaled, turned round the
circle of 72 steps, gets noise that is smooth where nothing was drawn and faint everywhere, is
sheared, and read at 40 steps. B curves at once, by sums and products alone.

Reference: Greydanus and Kobak (2020), arXiv:2011.14439; constants of their program.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from longhaul_trainers.counter import Words
from longhaul_trainers.normal import PER_WORD, normal32

Numbers = NDArray[np.float64]

STEPS: Final = 40
LEAST_PADDING: Final = 36
MOST_PADDING: Final = 60
SCALE: Final = 0.4
MOST_TRANSLATION: Final = 48
SMOOTH_NOISE: Final = 0.25
FAINT_NOISE: Final = 0.02
SHEAR: Final = 0.75
NOISE_WIDTH: Final = 2.0
"""Standard deviation, in steps, of the Gaussian that smooths the noise; it ends after four."""
SPECK: Final = 1e-8
"""Added to the template, so that a zero in it is not taken for one behind it."""

_DIGITS: Final = (
    (5, 6, 6.5, 6.75, 7, 7, 7, 7, 6.75, 6.5, 6, 5),
    (5, 3, 3, 3.4, 3.8, 4.2, 4.6, 5, 5.4, 5.8, 5, 5),
    (5, 6, 6.5, 6.5, 6, 5.25, 4.75, 4, 3.5, 3.5, 4, 5),
    (5, 6, 6.5, 6.5, 6, 5, 5, 6, 6.5, 6.5, 6, 5),
    (5, 4.4, 3.8, 3.2, 2.6, 2.6, 5, 5, 5, 5, 5, 5),
    (5, 3, 3, 3, 3, 5, 6, 6.5, 6.5, 6, 4.5, 5),
    (5, 4, 3.5, 3.25, 3, 3, 3, 3, 3.25, 3.5, 4, 5),
    (5, 7, 7, 6.6, 6.2, 5.8, 5.4, 5, 4.6, 4.2, 5, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 4, 3.5, 3.5, 4, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 5, 5, 4.7, 4.3, 5),
)
TEMPLATE_STEPS: Final = len(_DIGITS[0])
WIDE_STEPS: Final = TEMPLATE_STEPS + MOST_PADDING
NOISE_WORDS: Final = 2 * WIDE_STEPS // PER_WORD


def _templates() -> Numbers:
    """The ten curves (10, 12): deviation 1/6, beginning and ending at 0."""
    curves = np.array(_DIGITS)
    curves = (curves - curves.mean(1, keepdims=True)) / curves.std(1, keepdims=True)
    ends: Numbers = (curves - curves[:, :1]) / 6
    return ends


def _window() -> Numbers:
    radius = int(4 * NOISE_WIDTH + 0.5)
    weights = [math.exp(-0.5 * (k / NOISE_WIDTH) ** 2) for k in range(-radius, radius + 1)]
    return np.array(weights) / math.fsum(weights)


TEMPLATES: Final = _templates()
WINDOW: Final = _window()


def curves(digits: NDArray[np.int64], uniform: Numbers, noise: Words) -> Numbers:
    """Disturbed curves, (B, 40), neither shifted nor scaled to mean 0 and deviation 1.

    Args:
        digits: which templates, (B,).
        uniform: in [0, 1), (B, 4): for padding, scale, translation, shear.
        noise: (B, NOISE_WORDS), the first half for the smooth noise.
    """
    smooth, faint = np.split(normal32(noise).astype(np.float64), 2, axis=1)
    padding = LEAST_PADDING + np.floor(uniform[:, 0] * (MOST_PADDING - LEAST_PADDING + 1))
    wide = _stretched(TEMPLATES[digits] + SPECK, TEMPLATE_STEPS + padding)
    wide = wide * (1 + SCALE * (uniform[:, 1:2] - 0.5))
    wide = _turned(wide, np.floor(uniform[:, 2] * MOST_TRANSLATION))
    wide = np.where(wide != 0, wide, _smoothed(SMOOTH_NOISE * smooth)) + FAINT_NOISE * faint
    slope = SHEAR * (uniform[:, 3:4] - 0.5)
    wide = wide - slope * np.linspace(-0.5, 0.5, WIDE_STEPS)
    return _read_at(wide, np.linspace(0, WIDE_STEPS - 1, STEPS)[None])


def _stretched(short: Numbers, steps: Numbers) -> Numbers:
    """Templates, with zeros behind up to ``steps`` (B,), stretched to 72 steps."""
    longest = np.zeros((len(short), WIDE_STEPS + 1))
    longest[:, :TEMPLATE_STEPS] = short
    return _read_at(longest, np.linspace(0, 1, WIDE_STEPS) * (steps[:, None] - 1))


def _turned(wide: Numbers, by: Numbers) -> Numbers:
    """Each row (B, 72) with its last ``by`` (B,) numbers in front."""
    places = (np.arange(WIDE_STEPS) - by.astype(np.int64)[:, None]) % WIDE_STEPS
    return np.take_along_axis(wide, places, axis=1)


def _smoothed(noise: Numbers) -> Numbers:
    """Noise (B, 72) under the window; at both ends it goes on as in a mirror."""
    radius = len(WINDOW) // 2
    mirrored = np.pad(noise, ((0, 0), (radius, radius)), mode="symmetric")
    total = np.zeros_like(noise)
    for k, weight in enumerate(WINDOW.tolist()):
        total += weight * mirrored[:, k : k + WIDE_STEPS]
    return total


def _read_at(rows: Numbers, places: Numbers) -> Numbers:
    """Rows (B, S) at fractional steps (B or 1, R), linear in between."""
    before = np.minimum(np.floor(places).astype(np.int64), rows.shape[1] - 2)
    fraction = places - before
    before = np.broadcast_to(before, (len(rows), before.shape[1]))
    left = np.take_along_axis(rows, before, axis=1)
    right = np.take_along_axis(rows, before + 1, axis=1)
    between: Numbers = left + fraction * (right - left)
    return between
