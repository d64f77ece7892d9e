"""What share of a training step is spent on making its batch, for images read from files.

    LONGHAUL_DATA=FOLDER .venv/bin/python benchmarks/input_time.py

Writes benchmarks/results/input_time.md. Permuted MNIST, batches of 128, one thread; the batch is
made anew beside whole training steps, in turns, so that a machine that gets busier slows both.
Without MNIST the digits stand in for it, which have a twelfth of the steps.
"""

import os
from pathlib import Path
from statistics import median
from time import perf_counter

import torch
from machine import machine_table

from longhaul_trainers.data.store import status
from longhaul_trainers.training.pack import Pack
from longhaul_trainers.training.settings import TrialConfig

STEPS = 11
BATCH = 128
CELLS = {"exprnn": 128, "lstm": 128, "rnn": 32}
PAGE = Path(__file__).parent / "results" / "input_time.md"


def measure(task: dict[str, object], cell: str, hidden_size: int) -> tuple[float, float]:
    """Median seconds of making a batch and of a whole training step."""
    training = {"steps": 10**6, "batch_size": BATCH, "evaluate_every": 1, "validation_size": 1}
    config = {"task": task, "cell": {"name": cell, "hidden_size": hidden_size}}
    pack = Pack([TrialConfig.parse(config | {"training": training})])
    made, stepped = [], []
    for step in range(1, STEPS + 2):
        started = perf_counter()
        pack.task.training_batch(1, step, BATCH)
        between = perf_counter()
        list(pack.train(until=step))  # with the validation of one sequence
        made.append(between - started)
        stepped.append(perf_counter() - between)
    return median(made[1:]), median(stepped[1:])


def main() -> None:
    """Measures and writes the page."""
    torch.set_num_threads(1)
    load = os.getloadavg()[0]
    task: dict[str, object] = {"name": "pixels", "protocol": "lezcano-2019"}
    task["permutation"] = "protocol"
    if status("mnist").state == "missing":
        task["source"] = "digits"
    rows = []
    for cell, hidden_size in CELLS.items():
        batch, step = measure(task, cell, hidden_size)
        share = 100 * batch / step
        rows.append(
            f"| {cell} | {hidden_size} | {1e3 * batch:.2f} | {1e3 * step:.0f} | {share:.2f} |"
        )
    images = task.get("source", "mnist")
    lines = [
        "# What share of a training step is spent on making its batch",
        "",
        "`LONGHAUL_DATA=FOLDER .venv/bin/python benchmarks/input_time.py`",
        "",
        f"Permuted {images}, batches of {BATCH}, one trial, one thread, median of {STEPS} steps.",
        "",
        "| cell | hidden size | batch, ms | step, ms | share, % |",
        "|---|---|---|---|---|",
        *rows,
        "",
        machine_table(["torch", "numpy", "pyarrow"]),
        f"| load average at the start | {load:.1f} |",
    ]
    PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(PAGE.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
