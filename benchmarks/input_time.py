"""What share of a training step is spent on making its batch, for images read from files.

    LONGHAUL_DATA=FOLDER .venv/bin/python benchmarks/input_time.py

Writes benchmarks/results/input_time.md. Permuted MNIST, batches of 128, and CIFAR-10 by rows with
968 steps of noise, batches of 100; one thread. The batch is made anew beside whole training steps,
in turns, so that a machine that gets busier slows both. Without MNIST the digits stand in for it,
which have a twelfth of the steps; without CIFAR-10 random images do, which take as long.
"""

import os
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import torch
from machine import machine_table

from longhaul_trainers.data.store import status
from longhaul_trainers.training.pack import Pack
from longhaul_trainers.training.settings import TrialConfig

STEPS = 11
PIXELS = {"name": "pixels", "protocol": "lezcano-2019", "permutation": "protocol"}
NOISE = {"name": "pixels", "protocol": "rusch-2021-cifar10", "noise": "per_sample"}
CASES = [
    (PIXELS, 128, "exprnn", 128),
    (PIXELS, 128, "lstm", 128),
    (PIXELS, 128, "rnn", 32),
    (NOISE, 100, "cornn", 128),
    (NOISE, 100, "lem", 128),
    (NOISE, 100, "rnn", 128),
]
"""Task, batch size, cell, hidden size."""
PAGE = Path(__file__).parent / "results" / "input_time.md"


def measure(
    task: dict[str, object], batch_size: int, cell: str, hidden_size: int
) -> tuple[float, float]:
    """Median seconds of making a batch and of a whole training step."""
    training = {"steps": 10**6, "batch_size": batch_size, "evaluate_every": 1, "validation_size": 1}
    config = {"task": task, "cell": {"name": cell, "hidden_size": hidden_size}}
    pack = Pack([TrialConfig.parse(config | {"training": training})])
    if task["protocol"] == NOISE["protocol"] and status("cifar10").state == "missing":
        vars(pack.task)["_columns"] = _random_images()
    made, stepped = [], []
    for step in range(1, STEPS + 2):
        started = perf_counter()
        pack.task.training_batch(1, step, batch_size)
        between = perf_counter()
        list(pack.train(until=step))  # with the validation of one sequence
        made.append(between - started)
        stepped.append(perf_counter() - between)
    return median(made[1:]), median(stepped[1:])


def _random_images() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    generator = np.random.default_rng(0)
    sizes = {"train": 50_000, "test": 10_000}
    return {
        part: (
            generator.integers(0, 256, (size, 3, 1024), dtype=np.uint8),
            generator.integers(0, 10, size, dtype=np.uint8),
        )
        for part, size in sizes.items()
    }


def main() -> None:
    """Measures and writes the page."""
    torch.set_num_threads(1)
    load = os.getloadavg()[0]
    digits = status("mnist").state == "missing"
    rows = []
    for given, batch_size, cell, hidden_size in CASES:
        task: dict[str, object] = dict(given)
        words = "CIFAR-10 rows and noise, 1000 steps"
        if given is PIXELS:
            words = "permuted digits, 64 steps" if digits else "permuted MNIST, 784 steps"
            task |= {"source": "digits"} if digits else {}
        batch, step = measure(task, batch_size, cell, hidden_size)
        share = 100 * batch / step
        rows.append(
            f"| {words} | {batch_size} | {cell} | {hidden_size} | {1e3 * batch:.2f} | "
            f"{1e3 * step:.0f} | {share:.2f} |"
        )
    random = " CIFAR-10 is random images here." if status("cifar10").state == "missing" else ""
    lines = [
        "# What share of a training step is spent on making its batch",
        "",
        "`LONGHAUL_DATA=FOLDER .venv/bin/python benchmarks/input_time.py`",
        "",
        f"One trial, one thread, median of {STEPS} steps.{random}",
        "",
        "| data | batch | cell | hidden size | batch, ms | step, ms | share, % |",
        "|---|---|---|---|---|---|---|",
        *rows,
        "",
        machine_table(["torch", "numpy", "pyarrow"]),
        f"| load average at the start | {load:.1f} |",
    ]
    PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(PAGE.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
