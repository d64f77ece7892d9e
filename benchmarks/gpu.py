"""Packs on a CUDA device: trial iterations per second, against processes that share the device.

    .venv/bin/python benchmarks/gpu.py [--hidden 128] [--batch 128] [--length 784]
        [--packs 1,4,16,64] [--processes 1,4,16] [--seconds 8]

Writes gpu.md and gpu.json to benchmarks/results/; about five minutes. It needs a CUDA device, and
of the environment only torch and what torch brings along.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from machine import machine_table
from plain_loop import PlainLoop, TorchLayer, train_step
from single_trial import CLASSES, INPUTS

RESULTS = Path(__file__).parent / "results"
WARM_UP = 3
Run = Callable[[], object]


def config(size: "Size", seed: int, precision: str) -> dict[str, Any]:
    """One trial of the copying task."""
    return {
        "cell": {
            "name": "exprnn",
            "hidden_size": size.hidden,
            "nonlinearity": {"name": "tanh"},
        },
        "task": {"name": "copying", "delay": size.length - 20},
        "training": {
            "steps": 100_000,
            "batch_size": size.batch,
            "validation_size": 2,
            "precision": precision,
            "optimizer": {"name": "rmsprop", "learning_rate": 1e-4},
        },
        "seed": seed,
    }


class Size:
    """The numbers that all contestants share.

    Attributes:
        hidden: H.
        batch: B.
        length: T.
    """

    def __init__(self, chosen: argparse.Namespace) -> None:
        self.hidden: int = chosen.hidden
        self.batch: int = chosen.batch
        self.length: int = chosen.length

    def arguments(self) -> list[str]:
        """What another process must be told to have the same."""
        told = (("hidden", self.hidden), ("batch", self.batch), ("length", self.length))
        return [f"--{name}={value}" for name, value in told]


def our_step(size: Size, slots: int, precision: str = "float32", *, drawn: bool = False) -> Run:
    """A training step of a pack; its batch is on the device already, unless ``drawn``."""
    from longhaul_trainers.training.pack import Pack
    from longhaul_trainers.training.settings import TrialConfig

    trials = [TrialConfig.parse(config(size, seed, precision)) for seed in range(1, slots + 1)]
    pack = Pack(trials, "cuda")
    if not drawn:
        given = pack.task.training_batch(1, 0, size.batch).to(pack.device)
        pack.task.training_batch = lambda *_: given  # type: ignore[method-assign]
    return pack.train_step


def their_step(name: str, size: Size) -> Run:
    """A training step of a plain program on the device, its batch given."""
    import torch
    from torch import nn

    if name == "plain loop":
        model: nn.Module = PlainLoop(INPUTS, size.hidden, CLASSES)
    else:
        kind = {"nn.RNN": nn.RNN, "nn.LSTM": nn.LSTM, "nn.GRU": nn.GRU}[name]
        model = TorchLayer(kind, INPUTS, size.hidden, CLASSES)
    model = model.cuda()
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-4, alpha=0.9)
    classes = torch.randint(0, CLASSES, (size.length, size.batch), device="cuda")
    inputs = torch.nn.functional.one_hot(classes, INPUTS).float()
    return lambda: train_step(model, optimizer, inputs, classes)


def scan_step(size: Size, slots: int, precision: str = "float32") -> Run:
    """The scan alone, forward and backward."""
    import torch

    from longhaul_trainers.catalogue import NONLINEARITIES
    from longhaul_trainers.scans.elman import elman_scan

    kind = NONLINEARITIES.get("tanh")
    phi = kind(size.hidden, [kind.settings_type()] * slots, [torch.Generator()] * slots)
    square = torch.randn(slots, size.hidden, size.hidden, device="cuda")
    recurrent = torch.linalg.qr(square).Q.contiguous().requires_grad_()
    shape = (slots, size.length, size.batch, size.hidden)
    z = torch.randn(shape, device="cuda").transpose(0, 1).requires_grad_()
    start = torch.zeros(slots, size.batch, size.hidden, device="cuda")
    given = torch.ones_like(z)

    def run() -> None:
        states = elman_scan(recurrent, z, start, phi, precision)  # type: ignore[arg-type]
        torch.autograd.grad(states, (recurrent, z), given)

    return run


def rate(run: Run, seconds: float) -> float:
    """Calls per second, the device's work included."""
    import torch

    for _ in range(WARM_UP):
        run()
    torch.cuda.synchronize()
    calls, started = 0, time.perf_counter()
    while (passed := time.perf_counter() - started) < seconds:
        run()
        calls += 1
        torch.cuda.synchronize()
    return calls / passed


def shared_rate(count: int, size: Size, seconds: float) -> float:
    """Iterations per second of so many processes of the plain loop together."""
    command = [sys.executable, __file__, "--worker", f"--seconds={seconds}", *size.arguments()]
    started = [
        subprocess.Popen(  # one each, as trials without packs have
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
        )
        for _ in range(count)
    ]
    for process in started:
        if process.stdout is None or process.stdout.readline() != "ready\n":
            raise RuntimeError("a process of the plain loop did not start")
    for process in started:
        if process.stdin is not None:
            process.stdin.write("go\n")
            process.stdin.flush()
    return sum(float(process.communicate()[0]) for process in started)


def work(size: Size, seconds: float) -> None:
    """What each of these processes does."""
    import torch

    run = their_step("plain loop", size)
    for _ in range(WARM_UP):
        run()
    torch.cuda.synchronize()
    print("ready", flush=True)
    sys.stdin.readline()
    print(rate(run, seconds))


def measure(chosen: argparse.Namespace) -> dict[str, dict[str, float]]:
    """All figures, per second."""
    import torch

    size, seconds = Size(chosen), chosen.seconds
    found: dict[str, dict[str, float]] = {"packs": {}, "processes": {}, "single": {}}

    def note(group: str, name: str, run: Run | float, trials: int = 1) -> None:
        per_second = trials * rate(run, seconds) if callable(run) else run
        found[group][name] = per_second
        print(f"{group}, {name}: {per_second:.4g}/s", file=sys.stderr, flush=True)
        torch.cuda.empty_cache()

    for name in ("plain loop", "nn.RNN", "nn.LSTM", "nn.GRU"):
        note("single", name, their_step(name, size))
    for slots in chosen.packs:
        note("packs", f"{slots} float32", our_step(size, slots), slots)
        note("packs", f"{slots} bfloat16", our_step(size, slots, "bfloat16"), slots)
        note("packs", f"{slots} scan float32", scan_step(size, slots), slots)
        note("packs", f"{slots} scan bfloat16", scan_step(size, slots, "bfloat16"), slots)
    most = max(chosen.packs)
    note("packs", f"{most} with data", our_step(size, most, drawn=True), most)
    for count in chosen.processes:
        note("processes", str(count), shared_rate(count, size, seconds))
    return found


def page(found: dict[str, dict[str, float]], chosen: argparse.Namespace) -> str:
    """The result page."""
    packs, processes, single = (found[name] for name in ("packs", "processes", "single"))
    best = max(processes.values())
    parts = [
        "# Packs on a CUDA device",
        f"`benchmarks/gpu.py`: exprnn with {chosen.hidden} hidden units, {chosen.length} steps, "
        f"batch {chosen.batch}, tanh, copying; whole training iterations of all trials together, "
        "per second, on batches that are on the device. The plain loop is "
        "`benchmarks/plain_loop.py` in separate processes that share the device. With data: the "
        "same with every batch drawn on the CPU, as a search does.",
        machine_table(["torch", "triton"]),
    ]
    lines = [
        "| trials in the pack | trial iterations/s | of the best count of processes | in bfloat16 "
        "| scan alone | in bfloat16 |",
        "|---|---|---|---|---|---|",
    ]
    for slots in chosen.packs:
        values = [packs[f"{slots}{kind}"] for kind in (" float32", " bfloat16")]
        scans = [packs[f"{slots} scan{kind}"] for kind in (" float32", " bfloat16")]
        row = [f"{values[0]:.1f}", f"{values[0] / best:.1f}×", f"{values[1]:.1f}"]
        lines.append(f"| {slots} | {' | '.join([*row, *(f'{one:.1f}' for one in scans)])} |")
    most = max(chosen.packs)
    lines.append(f"| {most}, with data | {packs[f'{most} with data']:.1f} | | | | |")
    parts.append("\n".join(lines))
    lines = ["| processes of the plain loop | iterations/s |", "|---|---|"]
    lines += [f"| {count} | {value:.1f} |" for count, value in processes.items()]
    parts.append("\n".join(lines))
    one = packs.get("1 float32")
    if one is not None:
        lines = ["| one trial | ms | of ours |", "|---|---|---|", f"| ours | {1000 / one:.2f} | |"]
        for name, value in single.items():
            lines.append(f"| {name} | {1000 / value:.2f} | {one / value:.1f}× |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _numbers(text: str) -> list[int]:
    return [int(one) for one in text.split(",")]


def main() -> int:
    """Measures and writes the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--length", type=int, default=784)
    parser.add_argument("--packs", type=_numbers, default=[1, 4, 16, 64])
    parser.add_argument("--processes", type=_numbers, default=[1, 4, 16])
    parser.add_argument("--seconds", type=float, default=8, help="for each figure")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    # imported here: --help answers without
    import torch

    if not torch.cuda.is_available():
        print("benchmarks/gpu.py measures a CUDA device, and there is none here", file=sys.stderr)
        return 2
    if chosen.worker:
        work(Size(chosen), chosen.seconds)
        return 0
    found = measure(chosen)
    chosen.output.mkdir(parents=True, exist_ok=True)
    (chosen.output / "gpu.json").write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    (chosen.output / "gpu.md").write_text(page(found, chosen), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
