"""Objectives that count what it takes to solve a task."""

import math
import re
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Self

from longhaul.spec.objectives import Circumstances, Curve, Objective, lowest, measured
from longhaul_trainers.errors import SettingError
from longhaul_trainers.settings import setting

LONGEST_S = 1e8
"""Seconds, about three years, that no trial trains for."""


@dataclass(frozen=True, kw_only=True)
class ToSolve(Objective):
    """What it took until the task was solved, told by the first point of the curve where it was.

    A trial that has not solved it is censored: it ranks behind all that have, by its lowest loss.
    Its value is ``limit`` (1 + loss / baseline), where no trial that solves it has more than
    ``limit``. So at a rung those that have solved it by then come first, then the lowest losses.
    """

    solved: str | None = setting(
        None, help="when the task is solved, as in `accuracy > 0.9`; null: as the task says"
    )
    limit: float | None = setting(
        None, gt=0, help="what no trial exceeds that solves the task; null: filled in"
    )
    unit: ClassVar[str]

    @property
    def columns(self) -> tuple[str, ...]:
        metric = criterion(self.solved or "")[0]
        return f"valid/{metric}", "valid/over_baseline", "speed/steps_per_second"

    @property
    def selects(self) -> str:
        metric = criterion(self.solved or "")[0]
        return "loss" if metric == "over_baseline" else metric

    @property
    def title(self) -> str:
        return f"{self.unit} until {self.solved}"

    @property
    def heading(self) -> str:
        return f"{self.unit} to solve"

    @abstractmethod
    def largest(self, space: Circumstances) -> float:
        """What no trial of a space exceeds."""

    @abstractmethod
    def cost(self, curve: Curve, until: int, batch_size: int) -> float:
        """What it took to come to a step."""

    def value(self, curve: Curve, batch_size: int) -> float:
        metric, bound, sign = criterion(self.solved or "")
        for step, point in curve.items():
            # a point that is missing or NaN compares as false
            if sign * point.get(f"valid/{metric}", math.nan) < sign * bound:
                return min(self.cost(curve, step, batch_size), self.most)
        return self.most * (1 + max(0.0, lowest(curve, "valid/over_baseline")))

    @property
    def most(self) -> float:
        """``limit``, which is known once the space is."""
        return self.limit or math.inf

    def reached(self, value: float | None) -> float | None:
        return value if value is not None and value <= self.most else None

    def text(self, value: float | None) -> str:
        reached, left = self.reached(value), self.over_baseline(value, None)
        if reached is not None:
            return f"{reached:,.6g}"
        return "-" if left is None else f"unsolved ({left:.3g} × baseline)"

    def over_baseline(self, value: float | None, baseline: float | None) -> float | None:
        return None if value is None or value <= self.most else value / self.most - 1

    def resolved(self, space: Circumstances) -> Self:
        task, solved = space.task, self.solved
        if solved is None:
            sign = ">" if task.better.get(task.solved.metric) == "higher" else "<"
            solved = f"{task.solved.metric} {sign} {task.solved.bound!r}"
        metric, bound, direction = criterion(solved)
        if metric != "over_baseline":
            metric = measured(metric, task, "solved", ["over_baseline"])
        sign, better = (">", "higher") if direction < 0 else ("<", "lower")
        right = task.better.get(metric, "lower")
        if better != right:
            raise SettingError("solved", f"found {solved!r}; of {metric}, {right} is better")
        solved = f"{metric} {sign} {bound!r}"
        return self.with_changes(solved=solved, limit=self.limit or self.largest(space))


@dataclass(frozen=True, kw_only=True)
class StepsToSolve(ToSolve):
    """Training steps until the task is solved."""

    name: ClassVar[str] = "steps_to_solve"
    unit = "steps"

    def largest(self, space: Circumstances) -> float:
        return float(space.steps)

    def cost(self, curve: Curve, until: int, batch_size: int) -> float:
        return float(until)


@dataclass(frozen=True, kw_only=True)
class ExamplesToSolve(ToSolve):
    """Training sequences seen until the task is solved, which compares across batch sizes."""

    name: ClassVar[str] = "examples_to_solve"
    unit = "examples"

    def largest(self, space: Circumstances) -> float:
        return float(space.steps * space.batch_size)

    def cost(self, curve: Curve, until: int, batch_size: int) -> float:
        return float(until * batch_size)


@dataclass(frozen=True, kw_only=True)
class SecondsToSolve(ToSolve):
    """Seconds of training until the task is solved, as the trial ran: no two runs are equal.

    Evaluations and pauses do not count. In a pack, a second is one of the whole pack's.
    """

    name: ClassVar[str] = "seconds_to_solve"
    unit = "seconds"

    def largest(self, space: Circumstances) -> float:
        return LONGEST_S

    def cost(self, curve: Curve, until: int, batch_size: int) -> float:
        seconds, before = 0.0, 0
        for step, point in curve.items():
            speed = point.get("speed/steps_per_second", math.nan)
            if step <= until and speed > 0:
                seconds += (step - before) / speed
            before = step
        return seconds


_CRITERION = re.compile(r"\s*([A-Za-z_/][\w/]*)\s*([<>])\s*(\S+)\s*")


def criterion(text: str) -> tuple[str, float, int]:
    """Metric, bound, and 1 where the metric must come below it, -1 where above.

    Raises:
        SettingError: at ``solved``, for a text that is not ``METRIC < NUMBER`` or with ``>``.
    """
    found = _CRITERION.fullmatch(text)
    try:
        if found is None:
            raise ValueError
        bound = float(found[3])
        if not math.isfinite(bound):
            raise ValueError
    except ValueError:
        expected = "a metric, < or >, and a number, as in `accuracy > 0.9`"
        raise SettingError("solved", f"expected {expected}, found {text!r}") from None
    return found[1], bound, 1 if found[2] == "<" else -1
