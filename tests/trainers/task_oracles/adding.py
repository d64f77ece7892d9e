"""What the best memory-less predictor and the rule itself answer in the adding task."""

import torch

SETTINGS = {}


def memoryless(task, batch):
    return torch.full((1, batch.inputs.shape[1], 1), task.protocol.share)


def oracle(task, batch):
    return task.protocol.share * batch.inputs.prod(2).sum(0).reshape(1, -1, 1)


def counted(task, batch):
    return 1
