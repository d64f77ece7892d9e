"""What the best memory-less predictor and a matched filter answer in the MNIST-1D task."""

from functools import cache

import numpy as np
import torch
from torch.nn.functional import one_hot

from longhaul_trainers.tasks.mnist1d import MNIST1D, MNIST1DSettings
from longhaul_trainers.tasks.mnist1d_curves import TEMPLATES

SETTINGS = {"training_size": 10_000}
TRAINING_REPEATS = True
RECOVERED = 0.9
"""The authors' own accuracy, by eye, is 0.96."""

STEPS = np.linspace(0, 71, 40)
RAMP = np.linspace(-0.5, 0.5, 40)


def memoryless(task, batch):
    return torch.zeros(1, batch.inputs.shape[1], 10)


def oracle(task, batch):
    curves, drawn, labels = filters()
    # Within the digit the noise is faint; outside, it is smooth and strong.
    weights = np.where(drawn, 0.025, 0.12) ** -2.0
    shown = batch.inputs[unshuffled(task), :, 0].double().numpy().T * 0.15468 - 0.00599
    scores = [likelihoods(one, curves, weights) for one in shown]
    return 1e4 * one_hot(torch.tensor(labels[np.argmax(scores, axis=1)]), 10).float().unsqueeze(0)


def likelihoods(shown, curves, weights):
    """Of one sequence (40,) under each filter (F, 40), best scaled and sheared."""
    moments = np.empty((len(curves), 2, 2))
    moments[:, 0, 0] = (weights * curves**2).sum(1)
    moments[:, 0, 1] = moments[:, 1, 0] = (weights * curves * RAMP).sum(1)
    moments[:, 1, 1] = (weights * RAMP**2).sum(1)
    sides = np.stack([(weights * curves * shown).sum(1), (weights * RAMP * shown).sum(1)], axis=1)
    scale, slope = np.linalg.solve(moments, sides[..., None])[..., 0].T
    scale, slope = np.clip(scale, 0.8, 1.2), np.clip(slope, -0.375, 0.375)
    errors = shown - scale[:, None] * curves - slope[:, None] * RAMP
    return 0.5 * (np.log(weights) - weights * errors**2).sum(1)


@cache
def filters():
    """Undisturbed curves at all places and many widths, where they are drawn, and their digits."""
    curves, drawn, labels = [], [], []
    for padding in range(36, 61, 6):
        for digit in range(10):
            short = np.concatenate([TEMPLATES[digit], np.zeros(padding)])
            wide = np.interp(np.linspace(0, len(short) - 1, 72), np.arange(len(short)), short)
            end = int(12 / len(short) * 72)
            for places in range(48):
                turned = np.roll(wide, places)
                there = np.roll(np.arange(72) < end, places)
                curves.append(np.interp(STEPS, np.arange(72), turned))
                drawn.append(there[np.round(STEPS).astype(int)])
                labels.append(digit)
    return np.array(curves), np.array(drawn), np.array(labels)


def unshuffled(task):
    """The steps of a sequence in their natural order: both protocols show the same draws."""
    plain = MNIST1D(MNIST1DSettings()).evaluation_set("test", 3).inputs[:, :, 0]
    shown = task.evaluation_set("test", 3).inputs[:, :, 0]
    same = (plain[:, None] == shown[None]).all(2)
    assert torch.equal(same.sum(1), torch.ones(40, dtype=torch.int64))
    return same.int().argmax(1)


def counted(task, batch):
    return 1
