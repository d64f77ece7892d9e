"""What share of a training step is spent on making its batch, for every task of the catalogue.

    LONGHAUL_DATA=FOLDER .venv/bin/python benchmarks/input_time.py [--tasks copying,pixels]

Writes input_time.md and input_time.json to benchmarks/results/; tasks that are not named keep the
figures they have. Each task as its protocol has it, with the batch size that
was published, for an LSTM and a plain cell of 128 units, whose step takes a third or less; one
thread. The batch is made anew beside whole training steps, in turns, so that a machine that gets
busier slows both. Small batches are made for a few steps at once, so that shares are of all the
time that as many steps take. Where a data set is not there, its task is shown on what stands in for
it offline; without CIFAR-10 random images take its place, which take as long. Times are the
processor's, which other programs lengthen less than the clock's.
"""

import argparse
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from time import process_time

import numpy as np
import torch

from longhaul_trainers.catalogue import TASKS
from longhaul_trainers.data.store import status
from longhaul_trainers.errors import DataError
from longhaul_trainers.tasks.ahead import MOST_STEPS
from longhaul_trainers.tasks.base import Task
from longhaul_trainers.tasks.pixels import Pixels
from longhaul_trainers.training.pack import Pack
from longhaul_trainers.training.settings import TrialConfig
from machine import machine_table

LONG_STEP_S = 0.3
"""From which on a round is of fewer steps: nothing so long is made ahead."""
LONG_STEPS = 4
ROUND_S = 1.0
"""There are so many rounds of shorter steps that one of them takes no less, but at most three."""
HIDDEN_SIZE = 128
CELLS = ("lstm", "rnn")
MOST = 3.0
"""Percent that making a batch may take."""
RESULTS = Path(__file__).parent / "results"

NOISE: Mapping[str, object] = {"protocol": "rusch-2021-cifar10", "noise": "per_sample"}
SHOWN: Mapping[str, tuple[Mapping[str, object], ...]] = {
    "characters": ({"protocol": "kerg-2019"}, {"protocol": "windows"}),
    "pixels": ({"protocol": "lezcano-2019", "permutation": "protocol"}, NOISE),
}
"""What is shown of a task instead of its default settings."""
STAND_IN: Mapping[str, Mapping[str, object]] = {
    "pixels": {"protocol": "longhaul", "source": "digits"},
}
"""What is shown of a task whose data is not there."""


@dataclass(frozen=True)
class Share:
    """What was measured of one task with one cell.

    Attributes:
        task: in words.
        length: T.
        batch_size: B.
        cell: its name.
        batch, step: processor seconds of making a batch and of a whole training step, mean of a
            round.
        load: processes that wanted to run meanwhile, on average.
    """

    task: str
    length: int
    batch_size: int
    cell: str
    batch: float
    step: float
    load: float

    @property
    def percent(self) -> float:
        """Of the step."""
        return 100 * self.batch / self.step


def measure(task: Mapping[str, object], cell: str) -> Share:
    """Mean times of making a batch and of a whole training step, in the round of median share.

    Raises:
        DataError: the task's data is not there.
    """
    training = {"steps": 10**6, "evaluate_every": 10**6, "validation_size": 1}
    config = {"task": task, "cell": {"name": cell, "hidden_size": HIDDEN_SIZE}}
    trial = TrialConfig.parse(config | {"training": training})
    made = TASKS.get(trial.task.name)(trial.task)
    if task.get("protocol") == NOISE["protocol"] and status("cifar10").state == "missing":
        _show_random_images(made)
    made.prepare()
    pack = Pack([trial])
    pack.task = pack.measure.task = made
    batch_size = trial.training.batch_size or 0
    once = _round(made, pack, batch_size, range(1))[1]
    size = MOST_STEPS if once < LONG_STEP_S else LONG_STEPS
    rounds = 3 if size * once < ROUND_S else 1
    # whole rounds of what is made ahead
    found = [
        _round(made, pack, batch_size, range(MOST_STEPS * (at + 1), MOST_STEPS * (at + 1) + size))
        for at in range(rounds)
    ]
    batch, step = sorted(found, key=lambda one: one[0] / one[1])[rounds // 2]
    words = ", ".join(
        str(value) if key in ("name", "source", "text") else f"{key.replace('_', ' ')} {value}"
        for key, value in task.items()
    )
    return Share(words, made.length, batch_size, cell, batch, step, round(os.getloadavg()[0], 1))


def _round(task: Task, pack: Pack, batch_size: int, steps: range) -> tuple[float, float]:
    batches = whole = 0.0
    for step in steps:
        started = process_time()
        task.training_batch(1, step, batch_size)
        between = process_time()
        pack.train_step()
        batches += between - started
        whole += process_time() - between
    return batches / len(steps), whole / len(steps)


def measured(name: str) -> Iterator[Share]:
    """All that is shown of one task."""
    for given in SHOWN.get(name, ({},)):
        for cell in CELLS:
            try:
                yield measure({"name": name, **given}, cell)
            except DataError:
                if name not in STAND_IN:
                    raise
                yield measure({"name": name, **STAND_IN[name]}, cell)


def _show_random_images(task: object) -> None:
    if not isinstance(task, Pixels):
        raise TypeError("only the pixels task shows images")
    generator = np.random.default_rng(0)
    images = {
        part: (
            generator.integers(0, 256, (size, 3, 1024), dtype=np.uint8),
            generator.integers(0, 10, size, dtype=np.uint8),
        )
        for part, size in {"train": 50_000, "test": 10_000}.items()
    }
    vars(task)["_columns"] = images
    task.prepare = lambda: None  # type: ignore[method-assign]


def page(shares: list[Share]) -> str:
    """The result page."""
    random = " CIFAR-10 is random images here." if status("cifar10").state == "missing" else ""
    over = [share for share in shares if share.percent >= MOST]
    verdict = (
        f"Below {MOST:g} % everywhere."
        if not over
        else f"{MOST:g} % or more: "
        + ", ".join(f"{share.task} with {share.cell}" for share in over)
        + "."
    )
    rows = [
        f"| {one.task} | {one.length} | {one.batch_size} | {one.cell} | {1e3 * one.batch:.2f} | "
        f"{1e3 * one.step:.0f} | {one.percent:.2f} | {one.load:g} |"
        for one in shares
    ]
    lines = [
        "# What share of a training step is spent on making its batch",
        "",
        "`LONGHAUL_DATA=FOLDER .venv/bin/python benchmarks/input_time.py`",
        "",
        f"One trial, {HIDDEN_SIZE} units, one thread, mean of {MOST_STEPS} steps on end (of "
        f"{LONG_STEPS} where one takes {LONG_STEP_S:g} s), processor time; each task with the "
        f"batch size that its protocol published. {verdict}{random}",
        "",
        "| task | T | batch | cell | batch, ms | step, ms | share, % | load |",
        "|---|---:|---:|---|---:|---:|---:|---:|",
        *rows,
        "",
        machine_table(["torch", "numpy", "pyarrow"]),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measures and writes the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tasks", default=",".join(TASKS.names()), help="names, with commas")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    stored = RESULTS / "input_time.json"
    rows = json.loads(stored.read_text("utf-8")) if stored.exists() else {}
    for name in chosen.tasks.split(","):
        rows[name] = []
        for share in measured(name):
            print(
                f"{share.task} {share.cell}: {1e3 * share.batch:.2f} of {1e3 * share.step:.0f} ms, "
                f"{share.percent:.2f} %",
                flush=True,
            )
            rows[name].append(asdict(share))
        ordered = {task: rows[task] for task in TASKS.names() if task in rows}
        stored.write_text(json.dumps(ordered, indent=1) + "\n", "utf-8")
        shares = [Share(**one) for found in ordered.values() for one in found]
        (RESULTS / "input_time.md").write_text(page(shares), "utf-8")


if __name__ == "__main__":
    main()
