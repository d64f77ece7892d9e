"""Speech as frames of log power, as Wisdom et al. 2016 made them.

8,000 samples a second; frames of 256 samples, one each 128; 129 bins a frame.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE: Final = 8000
FRAME: Final = 256
HOP: Final = 128
BINS: Final = FRAME // 2 + 1
FLOOR: Final = 1e-5
"""Added to the power, so that silence is -50 dB."""


def log_power_frames(samples: NDArray[np.int16]) -> NDArray[np.float32]:
    """10 log10(1e-5 + |X|^2) of every frame, (n + 1, 129), for one recording (samples,).

    There are n = ceil(samples / 128) + 3 frames, for the recording is filled up to a multiple of
    the hop and has a frame of zeros before and behind; one more is what follows the last, silence.
    Samples are divided by 32,768. The window is a periodic Hann window, which is what the authors'
    version of librosa takes for their ``window=None``.
    """
    hops = -(-len(samples) // HOP)
    padded = np.zeros(2 * FRAME + (hops + 1) * HOP)
    padded[FRAME : FRAME + len(samples)] = samples / 32768
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME)[::HOP]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FRAME) / FRAME)
    power = np.abs(np.fft.rfft(frames * window, axis=1)) ** 2
    return (10 * np.log10(FLOOR + power)).astype(np.float32)
