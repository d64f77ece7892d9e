"""What a training run is configured by."""

from dataclasses import dataclass
from typing import Any, Self

from longhaul_trainers.catalogue import CELLS, OPTIMIZERS, TASKS
from longhaul_trainers.cells.base import Cell, CellSettings
from longhaul_trainers.errors import SettingError, UnknownNameError
from longhaul_trainers.precision import Precision
from longhaul_trainers.settings import (
    Settings,
    component,
    dump,
    parse,
    parse_component,
    setting,
    structure,
)
from longhaul_trainers.training.optimizers import RMSpropSettings
from longhaul_trainers.training.sizing import parse_cell


@dataclass(frozen=True, kw_only=True)
class TrainingSettings(Settings):
    """How a trial is trained and measured."""

    steps: int | None = setting(
        None,
        ge=1,
        structural=True,
        searchable=False,
        help="training steps; null: as the protocol published",
    )
    batch_size: int | None = setting(
        None, ge=1, structural=True, help="sequences in a batch; null: as the protocol published"
    )
    optimizer: Settings = component(
        OPTIMIZERS, RMSpropSettings(), help="optimiser and learning rate of the main parameters"
    )
    clip_norm: float | None = setting(
        None, gt=0, help="largest Euclidean norm of a trial's whole gradient; null: no clipping"
    )
    precision: Precision = setting(
        "float32",
        structural=True,
        help="bfloat16: what the products of state and gradient with the recurrent matrix read is "
        "rounded, and what its own gradient is summed from; all else and all sums stay float32; "
        "slower on the CPU where it was measured",
    )
    evaluate_every: int = setting(
        50,
        ge=1,
        structural=True,
        searchable=False,
        help="training steps between two points of the curve",
    )
    diagnose_every: int = setting(
        100,
        ge=1,
        structural=True,
        searchable=False,
        help="training steps between two diagnoses of the recurrent matrix and the gradient's flow",
    )
    validation_size: int = setting(
        500, ge=1, structural=True, searchable=False, help="sequences of the validation set"
    )
    test_size: int = setting(
        1000, ge=1, structural=True, searchable=False, help="sequences of the test set"
    )
    select: str | None = setting(
        None,
        structural=True,
        searchable=False,
        help="metric by which a trial's best weights are chosen on the validation set, which are "
        "kept and tested; null: that of the search's objective, else the loss",
    )
    divergence: float = setting(
        1e4, gt=1, searchable=False, help="a loss above this many trivial baselines has diverged"
    )


@dataclass(frozen=True)
class TrialConfig:
    """One configuration with every leaf fixed.

    Attributes:
        task, cell: settings of one entry of the respective catalogue.
        training: how it is trained; steps and batch size are filled in from the protocol, and the
            loss selects where nothing else does.
        seed: master seed of the trial, in [0, 2^63); initial parameters and training data derive
            from it.
    """

    task: Settings
    cell: CellSettings
    training: TrainingSettings
    seed: int

    def __post_init__(self) -> None:
        if self.cell.parameters is not None:
            raise ValueError(
                "cell.parameters is a wish: TrialConfig.parse makes a hidden size of it"
            )

    @classmethod
    def parse(cls, value: dict[str, Any]) -> Self:
        """From the mapping ``{task: ..., cell: ..., training: ..., seed: ...}``.

        A cell that names ``parameters`` gets the hidden size that comes nearest to so many.

        Raises:
            SettingError: with the path of the key at fault.
        """
        known = ["task", "cell", "training", "seed"]
        for key in value:
            if key not in known:
                raise UnknownNameError(str(key), "key", key, known)
        for key in ("task", "cell"):
            if key not in value:
                raise SettingError(key, "missing")
        task = parse_component(TASKS, value["task"], "task")
        made = TASKS.get(task.name)(task)
        cell = parse_cell(value["cell"], made)
        if made.carries_state and CELLS.get(cell.name).initial_state is Cell.initial_state:
            problem = f"{cell.name!r} does not say what state it begins with (its initial_state)"
            reason = f"protocol {made.protocol.name} carries the state from batch to batch"
            raise SettingError("cell.name", f"{problem}; {reason}")
        training = parse(TrainingSettings, value.get("training") or {}, "training")
        _check_precision(training.precision, cell)
        seed = value.get("seed", 0)
        if type(seed) is not int or not 0 <= seed < 2**63:
            raise SettingError("seed", f"expected a whole number in [0, 2^63), found {seed!r}")
        protocol = made.protocol
        training = training.with_changes(
            steps=training.steps or protocol.steps,
            batch_size=training.batch_size or protocol.batch_size,
            select=training.select or "loss",
        )
        if training.select not in made.better:
            raise UnknownNameError("training.select", "metric", training.select, list(made.better))
        return cls(task, cell, training, seed)

    def dump(self) -> dict[str, Any]:
        """The mapping from which `parse` makes an equal configuration."""
        return {
            "task": dump(self.task),
            "cell": dump(self.cell),
            "training": dump(self.training),
            "seed": self.seed,
        }

    def structure(self) -> dict[str, Any]:
        """What must be equal for all trials of a pack; the task must be equal altogether."""
        return {
            "task": dump(self.task),
            "cell": structure(self.cell),
            "training": structure(self.training),
        }


def _check_precision(precision: Precision, cell: CellSettings) -> None:
    """Refuses a precision that the cell's scan, under its settings, is not written for."""
    cell_type: type[Cell] = CELLS.get(cell.name)
    known = cell_type.precisions(cell)
    if precision not in known:
        problem = f"found {precision}, but the scan of cell {cell.name} is not written for it"
        raise SettingError("training.precision", f"{problem}; expected {' or '.join(known)}")
