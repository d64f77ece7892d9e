"""What the share of each pitch in the training pieces answers, counted from the file itself."""

import os
from functools import cache
from pathlib import Path

import numpy as np
import torch
from scipy.io import loadmat

SETTINGS = {"collection": "jsb", "longest_piece": 20}
NATURAL = True


@cache
def shares():
    pieces = loadmat(Path(os.environ["LONGHAUL_DATA"]) / "JSB_Chorales.mat")["traindata"][0]
    frames = np.concatenate([piece[1:] for piece in pieces]).astype(np.float64)
    return (frames.sum(0) + 1) / (len(frames) + 2)


def memoryless(task, batch):
    logits = torch.tensor(np.log(shares() / (1 - shares())))
    return logits.expand_as(batch.targets)
