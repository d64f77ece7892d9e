"""What every cell learns in a short training at equal size, and how fast.

    .venv/bin/python benchmarks/cells.py [--cells lstm,lem] [--tasks copying,adding] [--jobs 2]

Writes cells.md and cells.json to benchmarks/results/; cells that are not named keep the figures
they have. Each cell runs at the point that its shipped space tries first, the published best one
where there is any, on a shorter task and with fewer units than published, so that all of it takes
an hour: who learns at all is meant to be seen here, not who is best.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from machine import machine_table

if TYPE_CHECKING:
    from longhaul_trainers.training.pack import Pack

RESULTS = Path(__file__).parent / "results"
HIDDEN_SIZE = 64
STEPS = 1000
SEED = 1
LENGTHS = {"copying": ("delay", 50), "adding": ("length", 50)}


@dataclass(frozen=True)
class Figure:
    """One training.

    Attributes:
        parameters: of cell and readout.
        over_baseline: best validation loss, over that of a predictor that remembers nothing.
        solved_at: first step at which the loss was a tenth of that; None if it never was.
        orthogonality_error: |W^T W - I|_F at the end, None without one recurrent matrix.
        steps: training steps, fewer than planned if it diverged.
        ms_per_step: wall time of one training step on one thread, evaluation left out.
        diagnosis_share: time of diagnoses over time of training.
    """

    parameters: int
    over_baseline: float
    solved_at: int | None
    orthogonality_error: float | None
    steps: int
    ms_per_step: float
    diagnosis_share: float


def trial(task: str, cell: str) -> dict[str, Any]:
    """The configuration that the shipped space tries first, made small."""
    from longhaul.spec.holes import fill
    from longhaul.spec.search_spec import SearchSpec
    from longhaul.spec.validation import first_answer
    from longhaul_trainers.errors import SettingError
    from longhaul_trainers.training.settings import TrialConfig

    key, length = LENGTHS[task]
    training = {"steps": STEPS, "evaluate_every": 100, "validation_size": 200}
    changes = [f"training.{name}={value}" for name, value in training.items()]
    spec = SearchSpec.load(f"{task}/{cell}", [f"task.{key}={length}", *changes])
    point = spec.enqueue[0] if spec.enqueue else {}
    answers = {hole.name: hole.hole.representatives[0] for hole in spec.holes()} | dict(point)
    config: dict[str, Any] = fill(spec.tree, partial(first_answer, answers)) | {"seed": SEED}
    for size in range(HIDDEN_SIZE, 2 * HIDDEN_SIZE):
        sized = config | {"cell": config["cell"] | {"hidden_size": size, "parameters": None}}
        try:
            TrialConfig.parse(sized)
        except SettingError:
            continue  # for example no whole number of rings
        return sized
    raise ValueError(f"{cell} takes no size near {HIDDEN_SIZE}")


def measure(task: str, cell: str) -> Figure:
    """Trains one cell on one thread."""
    import torch

    from longhaul_trainers.training.model import SequenceModel
    from longhaul_trainers.training.pack import Pack
    from longhaul_trainers.training.settings import TrialConfig

    torch.set_num_threads(1)
    config = TrialConfig.parse(trial(task, cell))
    pack = Pack([config])
    seconds, values, error = [], [], None
    for (point,) in pack.train():
        values.append((point.step, point.metrics.get("valid/over_baseline", math.inf)))
        seconds.append(1 / point.metrics["speed/steps_per_second"])
        error = point.metrics.get("recurrent/orthogonality_error")
    diagnosis = min(_diagnosis_s(pack) for _ in range(3))
    step_s = sorted(seconds)[len(seconds) // 2]
    return Figure(
        parameters=SequenceModel.parameter_count(pack.task, config.cell),
        over_baseline=min(value for _, value in values),
        solved_at=next((step for step, value in values if value < 0.1), None),
        orthogonality_error=error,
        steps=pack.step,
        ms_per_step=1000 * step_s,
        diagnosis_share=diagnosis / (config.training.diagnose_every * step_s),
    )


def _diagnosis_s(pack: "Pack") -> float:
    started = time.perf_counter()
    pack._diagnostics(pack.model)
    return time.perf_counter() - started


def all_figures(wanted: list[tuple[str, str]], jobs: int) -> Iterable[tuple[str, str, Figure]]:
    """Figures as they come, each measured in a process of its own kind, one thread each."""
    with ProcessPoolExecutor(jobs, max_tasks_per_child=1) as pool:
        running = {pool.submit(measure, *one): one for one in wanted}
        for done in as_completed(running):
            task, cell = running[done]
            try:
                figure = done.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
            print(f"{task}/{cell}: {figure.over_baseline:.2g}", file=sys.stderr, flush=True)
            yield task, cell, figure


def page(figures: dict[str, dict[str, dict[str, Any]]], note: str) -> str:
    """The result page, with a note on how it was measured."""
    parts = [
        "# Every cell, a short training",
        f"`benchmarks/cells.py`: {HIDDEN_SIZE} hidden units (or the next number that the cell "
        f"takes), {STEPS:,} training steps, one seed, one thread; other settings as the first "
        "point of the shipped space. The loss is the best on the validation set, divided by that "
        "of a predictor that remembers nothing: 1 means that nothing was learnt. Solved is the "
        "first step at which it was below a tenth. One seed, and points tuned for longer tasks: "
        "this tells who learns at all, not who is best. The last column is the time of the "
        "diagnoses of recurrent matrix and gradient flow over that of the training steps between "
        "them.",
        *([note] if note else []),
        machine_table(["torch"]),
    ]
    for task, cells in figures.items():
        key, length = LENGTHS[task]
        parts.append(f"## {task}, {key} {length}")
        rows = sorted(cells.items(), key=lambda item: item[1]["over_baseline"])
        lines = [
            "| cell | parameters | loss / baseline | solved at | orthogonality error | "
            "steps | ms a step | diagnoses |",
            "|---|---|---|---|---|---|---|---|",
            *(_row(cell, Figure(**one)) for cell, one in rows),
        ]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _row(cell: str, one: Figure) -> str:
    values = [
        cell,
        f"{one.parameters:,}",
        f"{one.over_baseline:.3g}",
        "" if one.solved_at is None else str(one.solved_at),
        "" if one.orthogonality_error is None else f"{one.orthogonality_error:.1e}",
        str(one.steps),
        f"{one.ms_per_step:.1f}",
        f"{one.diagnosis_share:.1%}",
    ]
    return f"| {' | '.join(values)} |"


def main() -> None:
    """Measures what is asked for and writes the page."""
    from longhaul_trainers.catalogue import CELLS

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cells", help="names, separated by commas; all without it")
    parser.add_argument("--tasks", default=",".join(LENGTHS))
    parser.add_argument("--note", default="", help="a sentence for the page")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at once")
    chosen = parser.parse_args()
    cells = chosen.cells.split(",") if chosen.cells else CELLS.names()
    stored = RESULTS / "cells.json"
    figures = json.loads(stored.read_text("utf-8")) if stored.exists() else {}
    wanted = [(task, cell) for cell in cells for task in chosen.tasks.split(",")]
    for task, cell, figure in all_figures(wanted, chosen.jobs):
        figures.setdefault(task, {})[cell] = asdict(figure)
        stored.write_text(json.dumps(figures, indent=1, sort_keys=True) + "\n", "utf-8")
        (RESULTS / "cells.md").write_text(page(figures, chosen.note), "utf-8")


if __name__ == "__main__":
    main()
