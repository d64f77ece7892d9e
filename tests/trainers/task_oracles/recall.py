"""What the best memory-less predictor and the rule itself answer in the recall task."""

import torch

SETTINGS = {"length": 24}
SURE = 1e4


def memoryless(task, batch):
    return torch.zeros(1, batch.inputs.shape[1], 10)


def oracle(task, batch):
    codes = batch.inputs.argmax(2).T.tolist()
    outputs = memoryless(task, batch)
    for b, sequence in enumerate(codes):
        *pairs, _, _, question = sequence
        digits = dict(zip(pairs[::2], pairs[1::2], strict=True))
        outputs[0, b, digits[question] - 13] = SURE  # question mark, 12 keys, digits
    return outputs


def counted(task, batch):
    return 1
