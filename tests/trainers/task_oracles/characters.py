"""What the share of each character answers, counted in the text itself."""

from collections import Counter
from pydoc_data.topics import topics

import torch

SETTINGS = {"length": 30}
NATURAL = True


def memoryless(task, batch):
    text = "".join(topics[name] for name in sorted(topics))
    train = text[: int(0.9 * len(text))]
    asked = Counter(train[1:])
    if task.protocol.layout == "lines":
        lines = [line for line in train.split("\n") if 2 <= len(line) <= 30]
        asked = Counter("".join(line[1:] for line in lines))
    shares = torch.tensor([asked[symbol] + 1 for symbol in sorted(set(text))]).double()
    return (shares / shares.sum()).log().expand(*batch.targets.shape, len(shares))


def counted(task, batch):
    return batch.inputs.any(2).sum(0)  # behind the end of a line nothing is read
