"""What the best memory-less predictor and a table of all digits answer in the pixel task.

The digits stand in for all images, read by scikit-learn itself; a little noise follows each.
"""

from functools import cache

import torch
from sklearn.datasets import load_digits

SETTINGS = {"source": "digits", "length": 70}
TRAINING_REPEATS = True


@cache
def answers():
    digits = load_digits()
    images = (bytes(image) for image in digits.data.astype("uint8"))
    return dict(zip(images, digits.target.tolist(), strict=True))


@cache
def frequencies():
    labels = torch.tensor(load_digits().target[:1437])
    return labels.bincount(minlength=10) / len(labels)


def memoryless(task, batch):
    return frequencies().log().expand(1, batch.inputs.shape[1], 10)


def oracle(task, batch):
    steps = 64 // task.input_size
    shown = (16 * batch.inputs[:steps]).round().transpose(0, 1).flatten(1)
    labels = [answers()[bytes(image.tolist())] for image in shown.to(torch.uint8)]
    return 1e4 * torch.nn.functional.one_hot(torch.tensor(labels), 10).float().unsqueeze(0)


def counted(task, batch):
    return 1
