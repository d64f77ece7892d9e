"""Predicting the course of a dynamical system.

D variables of the system, T time steps, B sequences, I inputs, O outputs.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from longhaul_trainers.counter import Stream, Words
from longhaul_trainers.tasks.base import Batch
from longhaul_trainers.tasks.regression import RegressionTask, numbers_example
from longhaul_trainers.tasks.synthetic import FiniteSettings, FiniteTask

State = NDArray[np.float64]
"""The system's variables in B courses at one time, (D, B)."""

BASELINE_STEPS: Final = 2**19
"""Time steps, in all sequences together, on which baselines are measured."""


class TrajectoryTask(RegressionTask, FiniteTask):
    """From the course so far, the state ``ahead`` time steps later, at every step.

    The courses are computed by sums and products alone, so they are the same on every platform,
    chaotic ones too.
    """

    @property
    @abstractmethod
    def ahead(self) -> int:
        """From an input to its target, in time steps."""

    @abstractmethod
    def courses(self, words: Words) -> NDArray[np.float64]:
        """What is seen of the system, (T + ahead, I, B), in one course for each row of words."""

    def sequences(self, words: Words) -> Batch:
        """See `DrawnTask.sequences`."""
        seen = np.ascontiguousarray(self.courses(words).transpose(0, 2, 1), dtype=np.float32)
        course = torch.from_numpy(seen)
        return Batch(course[: self.length].clone(), course[self.ahead :].clone())

    @property
    def baselines(self) -> Mapping[str, float]:
        """Mean squared errors of predictors that remember nothing, to six digits.

        ``mean`` always answers the mean of all targets; ``persistence`` answers the present input;
        ``linear`` is the best affine function of the present input. They are measured on sequences
        that are in no set.
        """
        return _baselines(type(self), self._finite_settings)

    @property
    def baseline(self) -> float:
        """Mean squared error of the best affine function of the present input, see `baselines`."""
        return self.baselines["linear"]

    @property
    def baseline_metrics(self) -> dict[str, float]:
        """``rmse`` of the same predictor."""
        return {"rmse": self.baseline**0.5}

    def example(self) -> str:
        """See `Task.example`; only the first of the system's variables is shown."""
        batch = self.evaluation_set("validation", 1)
        return numbers_example(batch.inputs[:, 0, 0], batch.targets[:, 0, 0])


def runge_kutta(
    derivative: Callable[[State], State], start: State, interval: float, *, points: int, parts: int
) -> NDArray[np.float64]:
    """The course of an autonomous system by the classical Runge-Kutta method of fourth order.

    Args:
        derivative: d state / d time.
        start: the first state.
        interval: time between two points.
        points: how many to compute, ``start`` included.
        parts: integration steps from one point to the next.

    Returns:
        (points, D, B).
    """
    step = interval / parts
    course = np.empty((points, *start.shape))
    course[0] = state = start
    for point in range(1, points):
        for _ in range(parts):
            first = derivative(state)
            second = derivative(state + (step / 2) * first)
            third = derivative(state + (step / 2) * second)
            fourth = derivative(state + step * third)
            state = state + (step / 6) * (first + 2 * (second + third) + fourth)
        course[point] = state
    return course


@cache
def _baselines(task_type: type[TrajectoryTask], settings: FiniteSettings) -> Mapping[str, float]:
    task = task_type(settings)
    words = Stream(settings.name, "baseline").words(
        -(-BASELINE_STEPS // task.length), task.words_per_sequence
    )
    batch = task.sequences(words)
    inputs, targets = (
        part.flatten(0, 1).double().numpy() for part in (batch.inputs, batch.targets)
    )
    known = np.column_stack([inputs, np.ones(len(inputs))])
    fitted = np.linalg.solve(known.T @ known, known.T @ targets)
    answers = {"mean": targets.mean(0), "persistence": inputs, "linear": known @ fitted}
    # Rounded, for the last digits of such products differ from one machine to the next.
    errors = {name: np.square(targets - answer).mean() for name, answer in answers.items()}
    return MappingProxyType({name: float(f"{error:.6g}") for name, error in errors.items()})
