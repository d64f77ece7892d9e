"""One trial on a CPU: a whole training iteration against a plain loop and torch's own layers.

    .venv/bin/python benchmarks/single_trial.py [--hidden 64,128,256] [--batch 20,128]
        [--length 200,784] [--cells exprnn,nnrnn,ornn,spectral_margin] [--seconds 12]

Writes single_trial.md and single_trial.json to benchmarks/results/, where a subset leaves the
other rows as they are. All contestants of one row take turns, a few iterations each, so that a busy
machine is busy for all of them; a time is the median of its iterations. Every one uses as many
threads as torch does by itself.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from machine import machine_table
from plain_loop import PlainLoop, TorchLayer, train_step
from turns import Run, medians_ms

if TYPE_CHECKING:
    from longhaul_trainers.training.pack import Pack

RESULTS = Path(__file__).parent / "results"
CELLS = ("exprnn", "nnrnn", "ornn", "spectral_margin")
BASELINES = ("plain loop", "nn.RNN", "nn.LSTM")
INPUTS, CLASSES = 10, 9


def our_pack(cell: str, hidden: int, batch: int, length: int) -> "Pack":
    """A pack of one trial of the copying task."""
    from longhaul_trainers.training.pack import Pack
    from longhaul_trainers.training.settings import TrialConfig

    config = {
        "cell": {"name": cell, "hidden_size": hidden, "nonlinearity": {"name": "tanh"}},
        "task": {"name": "copying", "delay": length - 20},
        "training": {
            "steps": 1000,
            "batch_size": batch,
            "validation_size": 2,
            "optimizer": {"name": "rmsprop", "learning_rate": 1e-4},
        },
        "seed": 1,
    }
    return Pack([TrialConfig.parse(config)])


def baseline(name: str, hidden: int, batch: int, length: int) -> Run:
    """One training iteration of a plain program, its batch given."""
    import torch
    from torch import nn

    if name == "plain loop":
        model: nn.Module = PlainLoop(INPUTS, hidden, CLASSES)
    else:
        kind = nn.RNN if name == "nn.RNN" else nn.LSTM
        model = TorchLayer(kind, INPUTS, hidden, CLASSES)
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-4, alpha=0.9)
    drawn = our_pack("exprnn", hidden, batch, length).task.training_batch(1, 0, batch)
    return lambda: train_step(model, optimizer, drawn.inputs, drawn.targets)


def scan(hidden: int, batch: int, length: int) -> Run:
    """The scan alone, input product inside, forward and backward, with the gradients of W and V."""
    import torch

    from longhaul_trainers.catalogue import NONLINEARITIES
    from longhaul_trainers.scans.driven_elman import driven_elman_scan

    kind = NONLINEARITIES.get("tanh")
    phi = kind(hidden, [kind.settings_type()], [torch.Generator()])
    recurrent = torch.linalg.qr(torch.randn(hidden, hidden)).Q[None].requires_grad_()
    weight = (torch.randn(1, hidden, INPUTS) / INPUTS).requires_grad_()
    x = torch.randn(length, 1, batch, INPUTS)
    start, given = torch.zeros(1, batch, hidden), torch.ones(length, 1, batch, hidden)

    def run() -> None:
        states = driven_elman_scan(recurrent, x, weight, None, start, phi)
        torch.autograd.grad(states, (recurrent, weight), given)

    return run


def products(hidden: int, batch: int, length: int) -> Run:
    """The scan's matrix products and nothing else, all operands in cache."""
    import torch

    recurrent, h = torch.randn(hidden, hidden), torch.randn(batch, hidden)
    out = torch.empty(batch, hidden)
    left, right = torch.randn(length * batch, hidden), torch.randn(length * batch, hidden)

    def run() -> None:
        for _ in range(2 * length):
            torch.mm(h, recurrent, out=out)
        torch.mm(left.mT, right)

    return run


def measure(
    cells: list[str], hidden: int, batch: int, length: int, seconds: float
) -> dict[str, float]:
    """All contestants of one row, in milliseconds, and the scan's share of the roofline."""
    shape = (hidden, batch, length)
    runs: dict[str, Run] = {name: our_pack(name, *shape).train_step for name in cells}
    runs |= {name: baseline(name, *shape) for name in BASELINES}
    runs |= {"scan": scan(*shape), "products": products(*shape)}
    found = medians_ms(runs, seconds)
    return found | {"roofline": found["products"] / found["scan"]}


def page(rows: Mapping[str, Mapping[str, float]], threads: int) -> str:
    """The result page."""
    parts = [
        "# One trial on a CPU",
        "`benchmarks/single_trial.py`: a whole training iteration (parametrisation, forward, "
        "backward, optimiser; ours with the watch for divergence, clipping norm and the drawing "
        "of the batch, the others on a given batch) on copying with 10 inputs and 9 classes, "
        "cross entropy at every step, tanh, RMSprop. The plain loop is "
        "`benchmarks/plain_loop.py`: `torch.matrix_exp`, a loop over steps, autograd. "
        f"{threads} threads for everybody, all in turns of 40 ms or one iteration, after one that "
        "is not timed; medians. A factor tells how many of the "
        "other's time fit; above 1, ours is faster. The roofline is what `torch.mm` takes for the "
        "products with W and for its gradient, operands in cache, over the time of the scan alone, "
        "which makes V x, tanh and their gradients besides.",
        machine_table(["torch"]),
    ]
    for hidden in sorted({_key(name)[0] for name in rows}):
        parts.append(f"## {hidden} hidden units")
        lines = [
            "| steps | batch | cell | ms | of the plain loop | of nn.RNN | of nn.LSTM |",
            "|---|---|---|---|---|---|---|",
        ]
        chosen = {name: row for name, row in rows.items() if _key(name)[0] == hidden}
        for name, row in sorted(chosen.items(), key=lambda one: _key(one[0])):
            _, batch, length = _key(name)
            for cell in (one for one in CELLS if one in row):
                factors = " | ".join(f"{row[other] / row[cell]:.1f}×" for other in BASELINES)
                lines.append(f"| {length} | {batch} | {cell} | {row[cell]:.2f} | {factors} |")
        parts.append("\n".join(lines))
    lines = [
        "| hidden | batch | steps | scan, ms | products alone, ms | share |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in sorted(rows.items(), key=lambda one: _key(one[0])):
        figures = f"{row['scan']:.2f} | {row['products']:.2f} | {row['roofline']:.0%}"
        lines.append(f"| {' | '.join(map(str, _key(name)))} | {figures} |")
    parts += ["## Share of the roofline", "\n".join(lines)]
    return "\n\n".join(parts) + "\n"


def _key(name: str) -> tuple[int, int, int]:
    hidden, batch, length = map(int, name.split("/"))
    return hidden, batch, length


def main() -> None:
    """Measures the chosen rows and writes the page."""
    import torch

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--hidden", default="64,128,256")
    parser.add_argument("--batch", default="20,128")
    parser.add_argument("--length", default="200,784")
    parser.add_argument("--cells", default=",".join(CELLS))
    parser.add_argument("--seconds", type=float, default=12, help="for each row")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the results")
    chosen = parser.parse_args()
    chosen.output.mkdir(parents=True, exist_ok=True)
    stored = chosen.output / "single_trial.json"
    rows = json.loads(stored.read_text("utf-8")) if stored.exists() else {}
    sizes = [[int(one) for one in text.split(",")] for text in (chosen.hidden, chosen.batch)]
    lengths = [int(one) for one in chosen.length.split(",")]
    for hidden, batch, length in product(*sizes, lengths):
        row = measure(chosen.cells.split(","), hidden, batch, length, chosen.seconds)
        rows[f"{hidden}/{batch}/{length}"] = row
        told = ", ".join(f"{name} {value:.3g}" for name, value in row.items())
        print(f"H {hidden} B {batch} T {length}: {told}", file=sys.stderr, flush=True)
        stored.write_text(json.dumps(rows, indent=1, sort_keys=True) + "\n", "utf-8")
        (chosen.output / "single_trial.md").write_text(page(rows, torch.get_num_threads()), "utf-8")


if __name__ == "__main__":
    main()
