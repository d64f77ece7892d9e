"""What the best memory-less predictor and the rule itself answer in the delay task."""

import torch

SETTINGS = {"length": 60, "delay": 15}


def memoryless(task, batch):
    return torch.zeros(task.length, batch.inputs.shape[1], 1)


def oracle(task, batch):
    delayed = torch.zeros_like(batch.inputs)
    delayed[15:] = batch.inputs[:45]
    return delayed


def counted(task, batch):
    return len(batch.inputs)
