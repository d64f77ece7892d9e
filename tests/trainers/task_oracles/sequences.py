"""What frequencies and means of the built-in example's training sequences answer."""

import torch

SETTINGS = {}
NATURAL = True


def memoryless(task, batch):
    train = [task.training_batch(0, step, 10) for step in range(21)]
    targets = torch.cat([one.targets for one in train], dim=1)
    assert targets.shape[1] == task.training_size
    if task.protocol.name == "forecasting":
        return torch.nanmean(targets.double()).expand_as(batch.targets)
    counts = targets[targets >= 0].bincount(minlength=3) + 1
    return (counts / counts.sum()).double().log().expand(*batch.targets.shape, 3)
