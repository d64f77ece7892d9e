"""Every scan on a CPU, compiled against written with torch, and the gated cells against torch's.

    .venv/bin/python benchmarks/scans.py [--kinds "gru;lstm"] [--sizes 64/20,128/128]
        [--seconds 2] [--threads 1]

Writes scans.md and scans.json to benchmarks/results/, where a subset leaves the other rows as they
are. A time is the median of runs forward and backward, gradients of everything included; the
contestants of one row take turns, so that a busy machine is busy for all of them.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from machine import machine_table
from turns import Run, medians_ms

if TYPE_CHECKING:
    from torch import Tensor

RESULTS = Path(__file__).parent / "results"
STEPS, INPUTS = 200, 10
SIZES = "64/20,64/128,128/20,128/128"
FORMULAS = {
    "elman": "h' = tanh(W h + z)",
    "leaky": "h' = 0.9 h + A h + 0.1 tanh(W h + z)",
    "lstm": "LSTM",
    "gru": "GRU",
    "cornn": "coRNN",
    "lem": "LEM",
    "diagonal": "h' = tanh(u * h + z)",
    "linear": "h' = a_t * h + b_t",
    "linear, same a": "h' = a * h + b",
    "pairs": "h' = A_t h + b_t, 2 x 2 each unit",
    "pairs, same A": "h' = A h + b, 2 x 2 each unit",
    "unicornn": "UnICORNN",
}
LAYERS = {"lstm": "LSTM", "gru": "GRU"}


def normal(*shape: int) -> "Tensor":
    """Small normal numbers that ask for a gradient."""
    import torch

    drawn: Tensor = torch.randn(*shape) / shape[-1] ** 0.5
    return drawn.requires_grad_()


def scan(kind: str, size: int, batch: int) -> tuple[Callable[..., Any], list["Tensor"]]:
    """One trial's scan and what it takes."""
    import torch

    from longhaul_trainers.catalogue import NONLINEARITIES
    from longhaul_trainers.scans import (
        cornn,
        diagonal,
        elman,
        gru,
        leaky,
        lem,
        linear,
        lstm,
        unicornn,
    )

    H, B = size, batch  # noqa: N806
    tanh = NONLINEARITIES.get("tanh")
    phi = tanh(H, [tanh.settings_type()], [torch.Generator()])
    z, h, other = normal(STEPS, 1, B, H), normal(1, B, H), normal(1, B, H)
    dt = torch.tensor([0.1])
    found: dict[str, tuple[Callable[..., Any], list[Tensor]]] = {
        "elman": (
            lambda *given: elman.elman_scan(given[0], given[1], given[2], phi),
            [normal(1, H, H), z, h],
        ),
        "leaky": (
            lambda W, z, h, g, a, A: leaky.leaky_scan(W, z, h, phi, gain=g, keep=a, linear=A),  # noqa: N803
            [
                normal(1, H, H),
                z,
                h,
                dt.clone().requires_grad_(),
                (1 - dt).requires_grad_(),
                normal(1, H, H),
            ],
        ),
        "lstm": (lstm.lstm_scan, [normal(1, 4 * H, H), normal(STEPS, 1, B, 4 * H), h, other]),
        "gru": (
            gru.gru_scan,
            [normal(1, 3 * H, H), normal(1, H), normal(STEPS, 1, B, 3 * H), h],
        ),
        "cornn": (
            lambda *given: cornn.cornn_scan(*given, keep=1 - dt, pull=-dt, push=dt, dt=dt),
            [normal(1, H, 2 * H), z, h, other],
        ),
        "lem": (
            lambda *given: lem.lem_scan(*given, dt=dt),
            [normal(1, 3 * H, H), normal(1, H, H), normal(STEPS, 1, B, 4 * H), h, other],
        ),
        "diagonal": (
            lambda *given: diagonal.diagonal_scan(given[0], given[1], given[2], phi),
            [normal(1, H), z, h],
        ),
        "linear": (linear.linear_scan, [normal(STEPS, 1, B, H), z, h]),
        "linear, same a": (linear.linear_scan, [normal(1, H), z, h]),
        "pairs": (
            linear.pair_scan,
            [normal(STEPS, 1, B, 2, 2, H), normal(STEPS, 1, B, 2, H), normal(1, B, 2, H)],
        ),
        "pairs, same A": (
            linear.pair_scan,
            [normal(1, 2, 2, H), normal(STEPS, 1, B, 2, H), normal(1, B, 2, H)],
        ),
        "unicornn": (
            lambda *given: unicornn.unicornn_scan(*given, alpha=dt),
            [normal(1, H), normal(1, H), z, h, other],
        ),
    }
    return found[kind]


def as_in_training(run: Run) -> Run:
    """With torch on one thread, whose others would look for work where the scan's compute."""
    from longhaul_trainers.threads import one_thread_but_scans

    def trained() -> None:
        with one_thread_but_scans():
            run()

    return trained


def both_ways(function: Callable[..., Any], leaves: list["Tensor"]) -> Run:
    """Runs it forward and backward."""
    import torch

    def run() -> None:
        outputs = function(*leaves)
        outputs = outputs[0] if isinstance(outputs, tuple) else outputs
        torch.autograd.grad(outputs, leaves, torch.ones_like(outputs))

    return run


def ours(kind: str, size: int, batch: int) -> Run:
    """Our cell: input products and scan, gradients of all parameters."""
    import torch

    from longhaul_trainers.catalogue import CELLS

    cell_type = CELLS.get(kind)
    cell = cell_type(INPUTS, [cell_type.settings_type(hidden_size=size)], [torch.Generator()])
    x = torch.randn(STEPS, 1, batch, INPUTS)
    return as_in_training(both_ways(lambda *_: cell(x), list(cell.parameters())))


def theirs(kind: str, size: int, batch: int) -> Run:
    """The same cell of torch."""
    import torch

    layer = getattr(torch.nn, LAYERS[kind])(INPUTS, size)
    x = torch.randn(STEPS, batch, INPUTS)
    return both_ways(lambda *_: layer(x), list(layer.parameters()))


@contextmanager
def nothing_compiled() -> Iterator[None]:
    """The scans written with torch."""
    from longhaul_trainers.scans.native import library

    found = library.library
    library.library = lambda: None  # type: ignore[assignment]
    try:
        yield
    finally:
        library.library = found


def measure(kind: str, size: int, batch: int, seconds: float) -> dict[str, float]:
    """All contestants of one row, in milliseconds."""
    run = both_ways(*scan(kind, size, batch))

    def written_with_torch() -> None:
        with nothing_compiled():
            run()

    runs: dict[str, Run] = {"compiled": as_in_training(run), "torch": written_with_torch}
    if kind in LAYERS:
        runs |= {"cell": ours(kind, size, batch), "layer": theirs(kind, size, batch)}
    return medians_ms(runs, seconds)


def page(rows: Mapping[str, Mapping[str, float]]) -> str:
    """The result page."""
    lines = ["| scan | hidden | batch | compiled, ms | torch, ms | factor |", "|---|" + "---|" * 5]
    cells = ["| cell | hidden | batch | ours, ms | torch's, ms | factor |", "|---|" + "---|" * 5]
    threads = {int(row["threads"]) for row in rows.values()}
    for kind in FORMULAS:
        for name, row in rows.items():
            of, _, sizes = name.partition(": ")
            if of != kind:
                continue
            size = sizes.replace("/", " | ")
            lines.append(_line(f"`{FORMULAS[kind]}`", size, row["compiled"], row["torch"]))
            if kind in LAYERS:
                cells.append(_line(f"`nn.{LAYERS[kind]}`", size, row["cell"], row["layer"]))
    parts = [
        "# Scans on a CPU",
        f"`benchmarks/scans.py`: one trial, {STEPS} steps, forward and backward with the gradients "
        f"of everything, float32, {' or '.join(map(str, sorted(threads)))} threads for everybody, "
        "in turns, medians. A factor above 1: the first is faster. First the scans alone, from "
        "ready input products, as compiled and as written with torch, which is what runs where "
        "there is no compiler (then with torch on one thread, as in all of our training, where "
        f"only compiled scans take more); then two whole cells, with {INPUTS} inputs, and torch's "
        "layers of the same equations.",
        machine_table(["torch"]),
        "\n".join(lines),
        "\n".join(cells),
    ]
    return "\n\n".join(parts) + "\n"


def _line(name: str, size: str, ours_ms: float, theirs_ms: float) -> str:
    factor = theirs_ms / ours_ms
    return f"| {name} | {size} | {ours_ms:.2f} | {theirs_ms:.2f} | {factor:.2f}× |"


def main() -> None:
    """Measures what is asked for and writes the page."""
    import torch

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kinds", help="names, separated by semicolons; all without it")
    parser.add_argument("--sizes", default=SIZES, help="hidden size / batch, ...")
    parser.add_argument("--seconds", type=float, default=2, help="for each row")
    parser.add_argument("--threads", type=int, help="as many as torch takes without it")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the results")
    chosen = parser.parse_args()
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    stored = chosen.output / "scans.json"
    rows = json.loads(stored.read_text("utf-8")) if stored.exists() else {}
    for kind in chosen.kinds.split(";") if chosen.kinds else FORMULAS:
        for sizes in chosen.sizes.split(","):
            size, batch = map(int, sizes.split("/"))
            row = measure(kind, size, batch, chosen.seconds)
            rows[f"{kind}: {sizes}"] = row | {"threads": torch.get_num_threads()}
            told = ", ".join(f"{name} {value:.3g}" for name, value in row.items())
            print(f"{kind} {sizes}: {told}", file=sys.stderr, flush=True)
            stored.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")
            (chosen.output / "scans.md").write_text(page(rows), "utf-8")


if __name__ == "__main__":
    main()
