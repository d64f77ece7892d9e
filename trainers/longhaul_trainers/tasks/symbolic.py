"""What synthetic tasks over symbols have in common: one-hot inputs, answers that are classes."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from longhaul_trainers.readout import mean_cross_entropy
from longhaul_trainers.tasks.base import IGNORED, WITH_ACCURACY, Better
from longhaul_trainers.tasks.recycled import recycled
from longhaul_trainers.tasks.synthetic import SyntheticTask


class SymbolicTask(SyntheticTask):
    """A task whose targets are classes, `IGNORED` where a step is not counted."""

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean cross entropy in nats over all sequences and counted steps.

        Args:
            outputs: logits (S, B, O).
            targets: (S, B).
        """
        return mean_cross_entropy(outputs.flatten(0, 1), targets.flatten(), IGNORED)

    @property
    def better(self) -> Mapping[str, Better]:
        """See `Task.better`."""
        return WITH_ACCURACY

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """``accuracy``: share of the counted targets that the largest logit names."""
        counted = targets != IGNORED
        right = (outputs.argmax(2) == targets) & counted
        return {"accuracy": right.sum() / counted.sum()}


def one_hot_inputs(codes: NDArray[np.int64], size: int) -> Tensor:
    """One-hot vectors (T, B, size) of codes (B, T); a code of ``size`` or more is all zeros."""
    by_step = codes.T.ravel()
    inputs = recycled().empty(codes.shape[1], codes.shape[0], size).zero_()
    places = np.arange(0, by_step.size * size, size)
    places += by_step
    inputs.view(-1).numpy()[places if by_step.max(initial=0) < size else places[by_step < size]] = 1
    return inputs
