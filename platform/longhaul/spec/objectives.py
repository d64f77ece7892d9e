"""What a search minimises.

A search compares its trials by one number, the value: lower is better, whatever it stands for. It
is what the ledger records, ASHA compares, and the best trial has least of. An objective makes it
of the points of a trial's curve that were measured on the validation set; the test set never
counts. What is shown to people is made of the value again.

Everything here is complete once a space has been read (`resolved`), so that a value is understood
from the recorded specification alone, without the task.
"""

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from longhaul_trainers.catalogue import Catalogue
from longhaul_trainers.errors import SettingError, UnknownNameError
from longhaul_trainers.settings import Settings, parse_component, setting

if TYPE_CHECKING:
    from longhaul_trainers.tasks.base import Task

_HERE = "longhaul.spec.objectives"

OBJECTIVES = Catalogue(
    "objective",
    {
        "examples_to_solve": "longhaul.spec.solving:ExamplesToSolve",
        "loss": f"{_HERE}:Loss",
        "metric": f"{_HERE}:Metric",
        "normalised_loss": f"{_HERE}:NormalisedLoss",
        "seconds_to_solve": "longhaul.spec.solving:SecondsToSolve",
        "steps_to_solve": "longhaul.spec.solving:StepsToSolve",
    },
)

Curve = Mapping[int, Mapping[str, float]]
"""The points of a curve by their training steps, ascending; metrics by their full names."""

SMALLEST = 1e-12
"""What counts as zero where a logarithm is taken."""


@dataclass(frozen=True)
class Circumstances:
    """What an objective of a space depends on besides its own settings.

    Attributes:
        task: of all the trials.
        steps: training steps of a trial.
        batch_size: the largest one that the space has.
    """

    task: "Task"
    steps: int
    batch_size: int


@dataclass(frozen=True, kw_only=True)
class Objective(Settings):
    """What every objective is."""

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """The metrics of a curve that `value` reads, by their full names."""

    @property
    def selects(self) -> str:
        """The task's metric by which a trial's best weights are chosen, where nobody says."""
        return "loss"

    @property
    @abstractmethod
    def title(self) -> str:
        """What `text` tells, for example ``validation loss``."""

    @property
    def heading(self) -> str:
        """The same in a table."""
        return self.title

    @abstractmethod
    def value(self, curve: Curve, batch_size: int) -> float:
        """What is compared: lower is better; infinite where nothing was measured.

        Args:
            curve: a trial's points until now, of which `columns` are looked at.
            batch_size: of that trial.
        """

    def told(self, value: float) -> float:
        """What the sampler is told: a logarithm, for values differ by orders of magnitude."""
        return math.log10(max(value, SMALLEST))

    def reached(self, value: float | None) -> float | None:
        """The number that a value stands for, in its own unit; None where there is none."""
        return value

    def text(self, value: float | None) -> str:
        """`reached` for people."""
        reached = self.reached(value)
        return "-" if reached is None else f"{reached:.4g}"

    def over_baseline(self, value: float | None, baseline: float | None) -> float | None:
        """The loss that a value tells of over the trivial baseline; None where it tells of none."""
        return None

    def resolved(self, space: Circumstances) -> Self:
        """The same, with everything filled in that the task knows.

        Raises:
            SettingError: the task does not measure what is asked for.
        """
        return self


@dataclass(frozen=True, kw_only=True)
class Loss(Objective):
    """The lowest validation loss of a trial."""

    name: ClassVar[str] = "loss"

    @property
    def columns(self) -> tuple[str, ...]:
        return ("valid/loss",)

    @property
    def title(self) -> str:
        return "validation loss"

    @property
    def heading(self) -> str:
        return "best loss"

    def value(self, curve: Curve, batch_size: int) -> float:
        return lowest(curve, "valid/loss")

    def over_baseline(self, value: float | None, baseline: float | None) -> float | None:
        return value / baseline if value is not None and baseline else None


@dataclass(frozen=True, kw_only=True)
class NormalisedLoss(Objective):
    """The lowest validation loss over the trivial baseline, which compares across lengths."""

    name: ClassVar[str] = "normalised_loss"

    @property
    def columns(self) -> tuple[str, ...]:
        return ("valid/over_baseline",)

    @property
    def title(self) -> str:
        return "validation loss over the baseline"

    @property
    def heading(self) -> str:
        return "loss / baseline"

    def value(self, curve: Curve, batch_size: int) -> float:
        return lowest(curve, "valid/over_baseline")

    def over_baseline(self, value: float | None, baseline: float | None) -> float | None:
        return value


@dataclass(frozen=True, kw_only=True)
class Metric(Objective):
    """The best of one of the task's own metrics on the validation set.

    Where higher is better, the value is the metric with the other sign.
    """

    name: ClassVar[str] = "metric"
    metric: str = setting("loss", help="its name, for example accuracy")
    better: Literal["lower", "higher"] | None = setting(
        None, help="which way it is better; null: as the task says"
    )

    @property
    def columns(self) -> tuple[str, ...]:
        return (f"valid/{self.metric}",)

    @property
    def selects(self) -> str:
        return self.metric

    @property
    def title(self) -> str:
        return f"validation {self.metric.replace('_', ' ')}"

    @property
    def heading(self) -> str:
        return f"best {self.metric.replace('_', ' ')}"

    def value(self, curve: Curve, batch_size: int) -> float:
        return lowest(curve, self.columns[0], -1 if self.better == "higher" else 1)

    def told(self, value: float) -> float:
        return value if self.better == "higher" else super().told(value)

    def reached(self, value: float | None) -> float | None:
        return -value if value is not None and self.better == "higher" else value

    def resolved(self, space: Circumstances) -> Self:
        metric = measured(self.metric, space.task, "metric")
        right = space.task.better[metric]
        if self.better not in (None, right):
            problem = f"found {self.better}; expected {right}: of {metric}, {right} is better"
            raise SettingError("better", problem)
        return self.with_changes(metric=metric, better=right)


LOSS = Loss()
"""What a search minimises unless it says otherwise."""


def measured(
    name: str, task: "Task", path: str, others: list[str] | None = None, noun: str = "metric"
) -> str:
    """The name of a metric, as the task has it.

    Args:
        name: as the user wrote it, perhaps as ``valid/NAME``.
        task: which must measure it.
        path: the setting, for messages.
        others: names that would be right besides.
        noun: what the name stands for.

    Raises:
        SettingError: the task has no such metric.
    """
    if name.startswith("test/"):
        problem = f"found {name!r}; a search never looks at the test set: expected"
        raise SettingError(path, f"{problem} {name.removeprefix('test/')!r}, of the validation set")
    plain = name.removeprefix("valid/")
    if plain not in task.better:
        known = [*(others or []), *task.better]
        raise UnknownNameError(path, noun, name, list(dict.fromkeys(known)))
    return plain


def resolved_objective(objective: Objective, space: Circumstances) -> Objective:
    """The objective of a space, complete.

    Raises:
        SettingError: the task does not measure what is asked for; its path begins in ``search``.
    """
    named = isinstance(objective, Metric) and objective.better is None
    try:
        return objective.resolved(space)
    except UnknownNameError as error:
        if not named:
            raise SettingError(f"objective.{error.path}", error.problem) from None
        # `objective: accuracy` is short for a metric, so any name may have been meant
        names = [name for name in OBJECTIVES.names() if name != "metric"]
        metric = getattr(objective, "metric", "")
        known = [*names, *space.task.better]
        raise UnknownNameError(
            "objective", "objective", metric, list(dict.fromkeys(known))
        ) from None
    except SettingError as error:
        raise SettingError(f"objective.{error.path}", error.problem) from None


def spelt_out(value: Any) -> Any:
    """``accuracy`` as ``{name: metric, metric: accuracy}``; names of objectives as they are."""
    if isinstance(value, str) and value not in OBJECTIVES.names():
        return {"name": "metric", "metric": value}
    return value


def recorded_objective(value: Mapping[str, Any] | None) -> Objective:
    """The objective that a ledger has recorded; the loss where it says nothing."""
    if value is None:
        return LOSS
    found = parse_component(OBJECTIVES, value)
    if not isinstance(found, Objective):
        raise TypeError(f"settings of objective {found.name!r} are not an Objective")
    return found


def lowest(curve: Curve, name: str, sign: int = 1) -> float:
    """The least of a metric, or of it with the other sign; infinite where it was not measured."""
    found = (sign * point[name] for point in curve.values() if name in point)
    return min((one for one in found if not math.isnan(one)), default=math.inf)
