"""What training.precision: bfloat16 costs and saves, on a CPU.

    .venv/bin/python benchmarks/precision.py [--steps 600] [--jobs 2]

Three things: how far a rotation is from orthogonal once it is rounded, and what becomes of a state
that it turns for many steps; the score of short trainings in both precisions, three seeds each;
the time of a training step in both, interleaved. Writes precision.md and precision.json to
benchmarks/results/, in about five minutes on two cores.
"""

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from cells import trial
from longhaul_trainers.precision import PRECISIONS
from machine import machine_table

RESULTS = Path(__file__).parent / "results"
TURNS = (200, 784, 2000)
SEEDS = (1, 2, 3)
TASKS = {"copying": {"delay": 50}, "adding": {"length": 100}}
CELLS = ("exprnn", "nnrnn", "spectral_margin", "lstm")
SPEEDS = [
    (cell, size, batch)
    for cell in ("exprnn", "lstm")
    for size in (64, 128, 256)
    for batch in (20, 128)
]
ROUNDS = 7


def rotations(size: int = 128, batch: int = 20) -> list[dict[str, Any]]:
    """A random rotation, its rounded twin, and states that each of them turns."""
    import torch

    from longhaul_trainers.nonlinearities import Identity, IdentitySettings
    from longhaul_trainers.precision import factor
    from longhaul_trainers.scans.elman import elman_scan

    drawn = torch.Generator().manual_seed(0)
    free = torch.rand(size, size, generator=drawn, dtype=torch.float64) * 2 * math.pi / size
    exact = torch.matrix_exp(free - free.T)
    matrix = exact.float()[None]
    phi = Identity(size, [IdentitySettings()], [drawn])
    start = torch.randn(1, batch, size, generator=drawn)
    still = torch.zeros(max(TURNS), 1, batch, size)
    rows = []
    for precision in PRECISIONS:
        states = elman_scan(matrix, still, start, phi, precision)[:, 0].double()
        read = factor(matrix, precision)[0].double()
        gram = read.T @ read - torch.eye(size, dtype=torch.float64)
        row: dict[str, Any] = {"precision": precision, "orthogonality_error": gram.norm().item()}
        for turns in TURNS:
            turned = start[0].double() @ torch.linalg.matrix_power(exact, turns).T
            norms = states[turns - 1].norm(dim=1) / start[0].double().norm(dim=1)
            missed = (states[turns - 1] - turned).norm(dim=1) / turned.norm(dim=1)
            row[f"norm_{turns}"] = norms.mean().item()
            row[f"distance_{turns}"] = missed.mean().item()
        rows.append(row)
    return rows


def scores(task: str, cell: str, precision: str, steps: int) -> dict[str, Any]:
    """Best validation loss over baseline, of one trial for each seed, trained as one pack."""
    import torch

    from longhaul_trainers.training.pack import Pack
    from longhaul_trainers.training.settings import TrialConfig

    torch.set_num_threads(1)
    config = trial(task, cell)
    config["task"] = config["task"] | TASKS[task]
    told = {"steps": steps, "evaluate_every": max(1, steps // 6), "precision": precision}
    config["training"] = config["training"] | told | {"batch_size": 20}
    pack = Pack([TrialConfig.parse(config | {"seed": seed}) for seed in SEEDS])
    for _ in pack.train():
        pass
    found = [best / pack.task.baseline for best in pack.best_loss]
    return {"task": task, "cell": cell, "precision": precision, "over_baseline": found}


def speeds() -> Iterator[dict[str, Any]]:
    """Times of a training step of one trial, the two precisions in turn."""
    from longhaul_trainers.training.pack import Pack
    from longhaul_trainers.training.settings import TrialConfig

    for cell, size, batch in SPEEDS:
        packs = {}
        for precision in PRECISIONS:
            config = {
                "task": {"name": "copying", "delay": 180},
                "cell": {"name": cell, "hidden_size": size},
                "training": {"batch_size": batch, "precision": precision, "validation_size": 1},
            }
            packs[precision] = Pack([TrialConfig.parse(config)])
            packs[precision].train_step()
        taken: dict[str, list[float]] = {precision: [] for precision in PRECISIONS}
        for _ in range(ROUNDS):
            for precision, pack in packs.items():
                began = time.perf_counter()
                pack.train_step()
                taken[precision].append(1000 * (time.perf_counter() - began))
        medians = {precision: statistics.median(times) for precision, times in taken.items()}
        yield {"cell": cell, "hidden_size": size, "batch_size": batch} | medians


def page(results: dict[str, Any]) -> str:
    """The result page."""
    parts = [
        "# bfloat16 factors in the recurrent products",
        "`benchmarks/precision.py`. With `training.precision: bfloat16` every product with the "
        "recurrent matrix, forward, backward and for its gradient, reads its factors rounded to "
        "bfloat16 and is added up in float32; all else is float32.",
        machine_table(["torch"]),
        f"Products of bfloat16 numbers in tile registers (AMX): {results['tiles']}; threads of "
        f"the timed steps: {results['threads']}.",
        "## What rounding does to a rotation",
        "A random rotation of 128 units, as the product reads it: |W^T W - I|_F. Then a state "
        "that it turns and nothing else: its norm over that at the start, and its distance from "
        "the exact rotation in float64, over its norm; means of 20 states.",
        _rotation_table(results["rotations"]),
        "## What it does to the score",
        f"Best validation loss over that of a predictor that remembers nothing, after "
        f"{results['steps']} steps at batch 20, at the point that the shipped space tries first; "
        "mean of three seeds and their range. Short trainings: most of these cells would go on "
        "learning.",
        _score_table(results["scores"]),
        "## What it saves",
        "Milliseconds of a whole training step of one trial, copying at delay 180 (200 steps); "
        "medians, interleaved.",
        _speed_table(results["speeds"]),
    ]
    return "\n\n".join(parts) + "\n"


def _rotation_table(rows: list[dict[str, Any]]) -> str:
    head = ["precision", "orthogonality error"]
    head += [f"norm after {turns}" for turns in TURNS] + [f"distance after {t}" for t in TURNS]
    lines = [
        [row["precision"], f"{row['orthogonality_error']:.1e}"]
        + [f"{row[f'norm_{turns}']:.4f}" for turns in TURNS]
        + [f"{row[f'distance_{turns}']:.1e}" for turns in TURNS]
        for row in rows
    ]
    return _table(head, lines)


def _score_table(rows: list[dict[str, Any]]) -> str:
    by = {(row["task"], row["cell"], row["precision"]): row["over_baseline"] for row in rows}
    lines = []
    for task, cell in dict.fromkeys((row["task"], row["cell"]) for row in rows):
        told = [by[task, cell, precision] for precision in PRECISIONS]
        lines.append([task, cell, *map(_spread, told)])
    return _table(["task", "cell", *PRECISIONS], lines)


def _spread(values: list[float]) -> str:
    return f"{statistics.mean(values):.3g} ({min(values):.3g} to {max(values):.3g})"


def _speed_table(rows: list[dict[str, Any]]) -> str:
    lines = [
        [row["cell"], str(row["hidden_size"]), str(row["batch_size"])]
        + [f"{row[precision]:.1f}" for precision in PRECISIONS]
        + [f"{row['float32'] / row['bfloat16']:.2f}"]
        for row in rows
    ]
    return _table(["cell", "H", "B", *PRECISIONS, "float32 / bfloat16"], lines)


def _table(head: list[str], lines: list[list[str]]) -> str:
    rule = ["---"] * len(head)
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *lines))


def main() -> None:
    """Measures and writes the page."""
    import torch

    from longhaul_trainers.scans.native.library import has_tiles

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, default=600, help="of each training")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at once")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the page")
    chosen = parser.parse_args()
    results: dict[str, Any] = {
        "tiles": "yes" if has_tiles() else "no",
        "threads": torch.get_num_threads(),
        "steps": chosen.steps,
        "rotations": rotations(),
        "speeds": list(speeds()),
    }
    print("rotations and speeds are done", file=sys.stderr, flush=True)
    wanted = [(t, c, p, chosen.steps) for t in TASKS for c in CELLS for p in PRECISIONS]
    with ProcessPoolExecutor(chosen.jobs, max_tasks_per_child=1) as pool:
        results["scores"] = list(pool.map(scores, *zip(*wanted, strict=True)))
    (chosen.output / "precision.json").write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    (chosen.output / "precision.md").write_text(page(results), "utf-8")


if __name__ == "__main__":
    main()
