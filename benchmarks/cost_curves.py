"""What a training step costs as sizes grow, and what the driver costs as a search grows.

    .venv/bin/python benchmarks/cost_curves.py [--parts step,driver] [--seconds 1.5]
        [--finished 10,100,1000,10000] [--trials 15]

Writes cost_curves.md, cost_curves.json and two plots to benchmarks/results/. Contestants take
turns; one thread.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from driver_costs import driver_costs
from machine import machine_table
from packs import CLASSES, INPUTS, Shape
from turns import medians_ms

RESULTS = Path(__file__).parent / "results"
BASE = {"length": 200, "batch": 20, "hidden": 64, "slots": 1}
VARIED = {
    "length": (50, 100, 200, 400, 800),
    "batch": (5, 10, 20, 40, 80, 160),
    "hidden": (16, 32, 64, 128, 256),
    "slots": (1, 2, 4, 8, 16, 32),
}
LABELS = {"length": "T", "batch": "B", "hidden": "H", "slots": "P"}
Curves = dict[str, dict[str, dict[str, float]]]
"""Milliseconds by what is varied (or measured), contestant (or sampler) and size."""


def step_curves(seconds: float) -> Curves:
    """Time of one training iteration, for each size varied and both contestants."""
    import torch

    torch.set_num_threads(1)
    curves: Curves = {}
    for name, sizes in VARIED.items():
        found = curves[name] = {"longhaul": {}, "plain loop": {}}
        for size in sizes:
            sized = BASE | {name: size}
            slots = sized.pop("slots")
            shape = Shape(**sized)
            runs = {"longhaul": shape.pack(slots).train_step, "plain loop": _plain(shape)}
            for who, value in medians_ms(runs, seconds).items():
                # P trials are P steps of the plain loop, one after the other
                found[who][str(size)] = value * (slots if who == "plain loop" else 1)
            told = ", ".join(f"{who} {one[str(size)]:.2f} ms" for who, one in found.items())
            print(f"{LABELS[name]} = {size}: {told}", file=sys.stderr, flush=True)
    return curves


def _plain(shape: Shape) -> Callable[[], object]:
    import torch

    from plain_loop import PlainLoop, train_step

    model = PlainLoop(INPUTS, shape.hidden, CLASSES)
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-4, alpha=0.9)
    batch = shape.pack(1).task.training_batch(1, 0, shape.batch)
    return lambda: train_step(model, optimizer, batch.inputs, batch.targets)


def driver_curves(finished: list[int], trials: int) -> Curves:
    """The driver's costs by number of finished trials; TPE's suggestions apart."""
    curves: Curves = {}
    for count in finished:
        found = driver_costs(count, trials, tpe=False)
        found["TPE's suggestion"] = driver_costs(count, trials, tpe=True)["suggestion"]
        for name, value in found.items():
            curves.setdefault(name, {}).setdefault("driver", {})[str(count)] = value
        told = ", ".join(f"{name} {value:.2f}" for name, value in found.items())
        print(f"{count} finished: {told} ms", file=sys.stderr, flush=True)
    return curves


def slope(curve: Mapping[str, float]) -> float:
    """The exponent of the last step of a curve: 1 where twice the size costs twice the time."""
    import math

    (x1, y1), (x2, y2) = [(int(size), value) for size, value in curve.items()][-2:]
    return math.log(y2 / y1) / math.log(x2 / x1)


def plot_steps(curves: Curves, path: Path) -> None:
    """One panel for each size varied."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 2.8), layout="constrained")
    for axes, (name, found) in zip(figure.subplots(1, len(curves)), curves.items(), strict=True):
        for who, curve in found.items():
            axes.loglog([int(size) for size in curve], list(curve.values()), "o-", ms=3, label=who)
        sizes = next(iter(found.values()))
        axes.set_xticks([], minor=True)
        axes.set_xticks([int(size) for size in sizes], list(sizes))
        axes.set_xlabel(LABELS[name])
        axes.grid(visible=True, which="major", alpha=0.3)
    figure.axes[0].set_ylabel("one training step, ms")
    figure.axes[0].legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=90)


def plot_driver(curves: Curves, path: Path) -> None:
    """All of the driver's costs in one panel."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, found in curves.items():
        curve = found["driver"]
        style = "s--" if name in ("resume", "TPE's suggestion") else "o-"
        axes.loglog([int(size) for size in curve], list(curve.values()), style, ms=3, label=name)
    axes.set_xlabel("finished trials in the search")
    axes.set_ylabel("ms")
    axes.grid(visible=True, which="major", alpha=0.3)
    axes.legend(frameon=False, fontsize=8, ncols=2)
    figure.savefig(path, dpi=90)


def page(parts: Mapping[str, Curves], load: float) -> str:
    """The result page."""
    base = ", ".join(f"{LABELS[name]} = {size}" for name, size in BASE.items())
    lines = [
        "# Cost curves",
        f"`benchmarks/cost_curves.py`. One-minute load before the start: {load:.2f}.",
    ]
    if "step" in parts:
        lines += [
            "## One training step",
            f"exprnn on copying, one thread, around {base}; medians in ms. T steps, B sequences, "
            "H units, P trials: one pack, against P steps of the plain loop. The exponent is that "
            "of the curve's last step: 1 where twice the size costs twice the time.",
            "![one training step against T, B, H and P](cost_curves_step.png)",
        ]
        for name, found in parts["step"].items():
            sizes = list(found["longhaul"])
            head = [LABELS[name], *sizes, "exponent"]
            rows = [[who, *_figures(curve)] for who, curve in found.items()]
            ratio = [found["plain loop"][size] / found["longhaul"][size] for size in sizes]
            rows.append(["plain loop / longhaul", *(f"{one:.1f}×" for one in ratio), ""])
            lines.append(_table(head, rows))
    if "driver" in parts:
        sizes = list(next(iter(parts["driver"].values()))["driver"])
        rows = [[name, *_figures(found["driver"])] for name, found in parts["driver"].items()]
        lines += [
            "## The driver",
            "Milliseconds for one trial, or one report, in a search with so many finished trials: "
            "medians over trials that are handed out, reported twice (ASHA decides) and ended by "
            "the search's own code, on a ledger on disk. Suggestion: the random sampler's, or "
            "TPE's, whose own time grows with what it has seen; with the ledger's entry. Read for "
            "tracking: what the tracking process does about a trial's events, short of MLflow. "
            "Resume, in all: reading the ledger and telling Optuna and ASHA of everything.",
            "![the driver's costs against finished trials](cost_curves_driver.png)",
            _table(["finished trials", *sizes, "exponent"], rows),
        ]
    lines.append(machine_table(["torch", "optuna", "ray"]))
    return "\n\n".join(lines) + "\n"


def _figures(curve: Mapping[str, float]) -> list[str]:
    exponent = f"{slope(curve):.2f}" if len(curve) > 1 else ""
    return [
        *(f"{value:,.3g}" if value < 1000 else f"{value:,.0f}" for value in curve.values()),
        exponent,
    ]


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] + ["--:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in lines)


def main() -> None:
    """Measures, and writes the page, the figures and the plots."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--parts", default="step,driver")
    parser.add_argument("--seconds", type=float, default=1.5, help="for each size of a step")
    parser.add_argument("--finished", default="10,100,1000,10000")
    parser.add_argument("--trials", type=int, default=15, help="on top of the finished ones")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the results")
    chosen = parser.parse_args()
    chosen.output.mkdir(parents=True, exist_ok=True)
    load = os.getloadavg()[0]
    stored = chosen.output / "cost_curves.json"
    parts: dict[str, Any] = json.loads(stored.read_text("utf-8")) if stored.exists() else {}
    if "driver" in chosen.parts:
        counts = [int(one) for one in chosen.finished.split(",")]
        parts["driver"] = driver_curves(counts, chosen.trials)
        plot_driver(parts["driver"], chosen.output / "cost_curves_driver.png")
    if "step" in chosen.parts:
        parts["step"] = step_curves(chosen.seconds)
        plot_steps(parts["step"], chosen.output / "cost_curves_step.png")
    stored.write_text(json.dumps(parts, indent=1) + "\n", "utf-8")
    text = page(parts, load)
    (chosen.output / "cost_curves.md").write_text(text, "utf-8")
    print(text, end="")


if __name__ == "__main__":
    main()
