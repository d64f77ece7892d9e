"""Spoken digits, the open recordings that stand in for TIMIT."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from longhaul_trainers.data.columns import Parts, ragged
from longhaul_trainers.data.data_set import DataSet, Form
from longhaul_trainers.data.spectrogram import log_power_frames

KEYS: Final = ("samples", "offsets", "digit", "speaker", "index")
TEST: Final = range(5)
"""The official test set: of each speaker and digit, the recordings with these numbers."""
VALIDATION: Final = range(5, 10)
"""Ours: the next ones."""


def read_npz(files: Sequence[Path]) -> Parts:
    """Tables ``train``, ``validation``, ``test``: frames (T, 129) in dB and the digit spoken.

    Raises:
        ValueError: a missing key, another type, or offsets that do not fit.
    """
    with np.load(files[0], allow_pickle=False) as archive:
        lacking = [key for key in KEYS if key not in archive.files]
        if lacking:
            raise ValueError(f"no key {lacking[0]!r}; found {', '.join(archive.files) or 'none'}")
        samples, offsets, digit, _, index = (archive[key] for key in KEYS)
    _check(samples, offsets, digit, index)
    chosen = {
        "train": index > VALIDATION[-1],
        "validation": np.isin(index, VALIDATION),
        "test": np.isin(index, TEST),
    }
    return {
        part: {
            "frames": ragged(
                [
                    log_power_frames(samples[offsets[i] : offsets[i + 1]])
                    for i in np.flatnonzero(rows)
                ]
            ),
            "digit": digit[rows].astype(np.uint8),
        }
        for part, rows in chosen.items()
    }


def _check(
    samples: NDArray[np.generic],
    offsets: NDArray[np.generic],
    digit: NDArray[np.generic],
    index: NDArray[np.generic],
) -> None:
    if samples.dtype != np.int16 or samples.ndim != 1:
        raise ValueError(f"samples are {samples.dtype} {samples.shape}; expected int16 in one row")
    if offsets.dtype.kind not in "iu" or offsets.ndim != 1 or len(offsets) < 2:
        raise ValueError(f"offsets are {offsets.dtype} {offsets.shape}; expected whole numbers")
    if offsets[0] != 0 or offsets[-1] != len(samples) or (np.diff(offsets.astype(int)) < 1).any():
        raise ValueError(f"offsets do not go up from 0 to {len(samples)}")
    recordings = len(offsets) - 1
    for name, values in {"digit": digit, "index": index}.items():
        if values.shape != (recordings,) or values.dtype.kind not in "iu":
            found = f"{values.dtype} {values.shape}"
            raise ValueError(f"{name} is {found}; expected whole numbers ({recordings},)")
    for part, numbers in {"test": TEST, "validation": VALIDATION}.items():
        if not np.isin(index, numbers).any():
            raise ValueError(f"no recording has an index of {list(numbers)}: no {part} set")
    if index.max() <= VALIDATION[-1]:
        raise ValueError(f"no recording has an index above {VALIDATION[-1]}: no training set")


SPOKEN_DIGITS: Final = DataSet(
    name="spoken_digits",
    summary="3,000 spoken digits of six speakers at 8 kHz; the open stand-in for timit",
    forms=(
        Form(
            what="an npz file with samples (int16, 8 kHz), offsets, digit, speaker, index",
            files=("spoken_digits.npz",),
            read=read_npz,
        ),
    ),
    source="the Free Spoken Digit Dataset of Jackson et al., github.com/Jakobovski/"
    "free-spoken-digit-dataset, its recordings end to end in one npz file",
    licence="CC BY-SA 4.0",
    stand_in="task: adding",
)
