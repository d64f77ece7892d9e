"""What the best memory-less predictor and the rule itself answer in the adding task."""

import torch

SETTINGS = {}


def memoryless(task, batch):
    return torch.ones(1, batch.inputs.shape[1], 1)


def oracle(task, batch):
    return batch.inputs.prod(2).sum(0).reshape(1, -1, 1)
