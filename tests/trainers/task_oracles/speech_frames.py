"""What the mean frame of the training recordings answers, with frames made by scipy."""

import os
from functools import cache
from pathlib import Path

import numpy as np
import torch
from scipy.signal import stft

SETTINGS = {"longest_piece": 20}
NATURAL = True


def frames(samples):
    """The frames of a recording that follow another: all but the first, which is silence."""
    silent = np.concatenate([samples, np.zeros(-len(samples) % 128 + 384)]) / 32768
    _, _, spectrum = stft(
        np.concatenate([np.zeros(256), silent]),
        nperseg=256,
        noverlap=128,
        window="hann",
        boundary=None,
        padded=False,
    )
    # scipy divides by the sum of the window
    return 10 * np.log10(1e-5 + np.abs(128 * spectrum.T[1:]) ** 2)


@cache
def mean():
    with np.load(Path(os.environ["LONGHAUL_DATA"]) / "spoken_digits.npz") as archive:
        samples, offsets, index = (archive[key] for key in ("samples", "offsets", "index"))
    train = [frames(samples[offsets[i] : offsets[i + 1]]) for i in np.flatnonzero(index >= 10)]
    return np.concatenate(train).mean(0)


def memoryless(task, batch):
    return torch.tensor(mean()).expand_as(batch.targets)
