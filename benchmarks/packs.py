"""What packs are worth on a CPU: trial-iterations a second, and where a pack host's time goes.

    .venv/bin/python benchmarks/packs.py [--slots 1,4,16,64] [--seconds 4] [--rounds 3]
        [--stalls 1,16] [--steps 200] [--length 200] [--batch 20] [--hidden 64]
        [--threads 2] [--processes 16]

Writes packs.md and packs.json to benchmarks/results/. Contestants take turns. Linux only.
"""

import argparse
import json
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from machine import machine_table

if TYPE_CHECKING:
    from multiprocessing.synchronize import Barrier

    from longhaul_trainers.training.pack import Pack

RESULTS = Path(__file__).parent / "results"
INPUTS, CLASSES = 10, 9
EVALUATE_EVERY, EVALUATED = 50, 500
CONTESTANTS = {
    "host": "pack host",
    "batched": "one batched pack",
    "sequential": "one by one",
    "alone": "processes of their own",
    "plain": "plain loop, processes",
}


@dataclass(frozen=True)
class Shape:
    """A trial of copying: T steps, B sequences in a batch, H hidden units."""

    length: int
    batch: int
    hidden: int

    def config(self, seed: int, steps: int = 10**9, evaluate_every: int = 10**9) -> dict[str, Any]:
        """The trial's configuration."""
        return {
            "task": {"name": "copying", "delay": self.length - 20},
            "cell": {"name": "exprnn", "hidden_size": self.hidden},
            "training": {
                "steps": steps,
                "batch_size": self.batch,
                "validation_size": EVALUATED,
                "test_size": EVALUATED,
                "evaluate_every": evaluate_every,
                "optimizer": {"name": "rmsprop", "learning_rate": 1e-4},
            },
            "seed": seed,
        }

    def pack(self, slots: int) -> "Pack":
        """A pack of so many such trials."""
        from longhaul_trainers.training.pack import Pack
        from longhaul_trainers.training.settings import TrialConfig

        return Pack([TrialConfig.parse(self.config(seed)) for seed in range(slots)])


@dataclass
class Spent:
    """Time of the training threads between two moments, in seconds.

    Attributes:
        stepping: in training steps.
        evaluating: in points of the curve, diagnostics included.
        testing: in measurements of the best weights on the test set.
        copying: in copying the states of trials.
        steps: training steps of all trials.
        threads: those that trained.
    """

    stepping: float = 0.0
    evaluating: float = 0.0
    testing: float = 0.0
    copying: float = 0.0
    steps: int = 0
    threads: set[int] = field(default_factory=set)


@contextmanager
def observed() -> Iterator[Spent]:
    """Counts what all packs of this process do."""
    from longhaul_trainers.training.pack import Pack

    spent = Spent()

    def timed(name: str, kind: str) -> Callable[..., Any]:
        real: Callable[..., Any] = getattr(Pack, name)

        def replaced(pack: Pack, *arguments: Any, **named: Any) -> Any:
            began = time.perf_counter()
            result = real(pack, *arguments, **named)
            setattr(spent, kind, getattr(spent, kind) + time.perf_counter() - began)
            if name == "train_step":
                spent.steps += len(pack.trials) - sum(pack.idle)
                spent.threads.add(threading.get_ident())
            return result

        return replaced

    names = {
        "train_step": "stepping",
        "points": "evaluating",
        "test": "testing",
        "slot_state": "copying",
    }
    real = {name: getattr(Pack, name) for name in names}
    for name, kind in names.items():
        setattr(Pack, name, timed(name, kind))
    try:
        yield spent
    finally:
        for name, method in real.items():
            setattr(Pack, name, method)


def hosted(shape: Shape, slots: int, threads: int, seconds: float) -> float:
    """Trial-iterations a second in a pack host: training steps alone, nothing is evaluated."""
    from longhaul.search.pack_host import PackHost

    host = PackHost("cpu", threads)
    with observed() as spent:
        for number in range(slots):
            host.take_on(number, shape.config(number), 10**9, None, 1e9)
        while spent.steps < 2 * slots:
            time.sleep(0.01)
        began, before = time.perf_counter(), spent.steps
        time.sleep(seconds)
        speed = (spent.steps - before) / (time.perf_counter() - began)
    for number in range(slots):
        host.withdraw(number)
    while host.busy():
        time.sleep(0.01)
    return speed


def stalls(shape: Shape, slots: int, threads: int, steps: int) -> dict[str, float]:
    """The shares of a host's training threads' time, from taking trials on to their results.

    The trials are asked about as in a search, and hand in what a search would have them hand in: a
    state as bytes at the end and every five seconds, and what they leave.
    """
    from longhaul.search.pack_host import PackHost

    host = PackHost("cpu", threads)

    def await_end(ticket: str) -> None:
        while not any(news.over for news in host.news(ticket, 5.0) or ()):
            pass

    with observed() as spent:
        began = time.perf_counter()
        config = shape.config(0, steps, evaluate_every=EVALUATE_EVERY)
        tickets = [
            host.take_on(number, config | {"seed": number}, steps, None, 5.0)
            for number in range(slots)
        ]
        asking = [threading.Thread(target=await_end, args=(one,)) for one in tickets]
        for thread in asking:
            thread.start()
        for thread in asking:
            thread.join()
        whole = (time.perf_counter() - began) * max(1, len(spent.threads))
    parts = {
        "stepping": spent.stepping / whole,
        "evaluating": spent.evaluating / whole,
        "testing": spent.testing / whole,
        "copying": spent.copying / whole,
    }
    return parts | {"other": 1 - sum(parts.values())}


def stepped(pack: "Pack", seconds: float, threads: int) -> float:
    """Trial-iterations a second of one pack in this thread."""
    import torch

    torch.set_num_threads(threads)
    pack.train_step()
    return len(pack.trials) * per_second(pack.train_step, seconds)


def per_second(step: Callable[[], object], seconds: float) -> float:
    """How often something is done in a second."""
    began, done = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        step()
        done += 1
    return done / (time.perf_counter() - began)


_barrier: "Barrier | None" = None


def _keep(barrier: "Barrier") -> None:
    global _barrier
    _barrier = barrier


def alone_steps(shape: Shape, seconds: float) -> float:
    """Training steps a second of a pack of one in this process, on one thread."""
    import torch

    torch.set_num_threads(1)
    pack = shape.pack(1)
    pack.train_step()
    if _barrier is not None:
        _barrier.wait()
    return per_second(pack.train_step, seconds)


def plain_steps(shape: Shape, seconds: float) -> float:
    """Training steps a second of the plain loop in this process, on one thread."""
    import torch

    from plain_loop import PlainLoop, train_step

    torch.set_num_threads(1)
    model = PlainLoop(INPUTS, shape.hidden, CLASSES)
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-4, alpha=0.9)
    batch = shape.pack(1).task.training_batch(1, 0, shape.batch)
    train_step(model, optimizer, batch.inputs, batch.targets)
    if _barrier is not None:
        _barrier.wait()
    return per_second(lambda: train_step(model, optimizer, batch.inputs, batch.targets), seconds)


def in_processes(
    steps: Callable[[Shape, float], float], shape: Shape, processes: int, seconds: float
) -> float:
    """What so many processes do at once, all of them together."""
    context = get_context("spawn")
    barrier = context.Barrier(processes)
    with ProcessPoolExecutor(processes, context, _keep, (barrier,)) as pool:
        asked = [pool.submit(steps, shape, seconds) for _ in range(processes)]
        return sum(one.result() for one in asked)


def measure(chosen: argparse.Namespace, shape: Shape) -> dict[str, Any]:
    """All figures."""
    speeds: dict[str, dict[str, list[float]]] = {}
    seconds, threads = chosen.seconds, chosen.threads
    for number in range(chosen.rounds):
        # the same for every P
        same = {
            "sequential": stepped(shape.pack(1), seconds, threads),
            "alone": in_processes(alone_steps, shape, threads, seconds),
        }
        for slots in chosen.slots:
            row = speeds.setdefault(str(slots), {name: [] for name in CONTESTANTS})
            found = {
                "host": hosted(shape, slots, threads, seconds),
                "batched": stepped(shape.pack(slots), seconds, threads),
                **same,
            }
            if slots <= chosen.processes:
                found["plain"] = in_processes(plain_steps, shape, slots, seconds)
            for name, one in found.items():
                row[name].append(one)
            told = ", ".join(f"{name} {one:.1f}" for name, one in found.items())
            print(f"round {number + 1}, P = {slots}: {told}", file=sys.stderr, flush=True)
    return {
        "speeds": {
            slots: {name: statistics.median(found) for name, found in row.items() if found}
            for slots, row in speeds.items()
        },
        "all_speeds": speeds,
        "stalls": {
            str(slots): stalls(shape, slots, threads, chosen.steps) for slots in chosen.stalls
        },
    }


def page(found: dict[str, Any], chosen: argparse.Namespace, load: float) -> str:
    """The result page."""
    speeds, shares = found["speeds"], found["stalls"]
    most = max((int(slots) for slots, row in speeds.items() if "plain" in row), default=0)
    plain = speeds[str(most)]["plain"] if most else 0.0
    rows = []
    for slots, row in speeds.items():
        own = row["host"]
        figures = [f"{row[name]:.1f}" if name in row else "-" for name in CONTESTANTS]
        factors = [f"{own / row[name]:.2f}×" for name in ("sequential", "alone")]
        beside = f"{own / row.get('plain', plain):.1f}×" if plain else "-"
        rows.append([slots, *figures, *factors, beside + ("" if "plain" in row else " *")])
    parts = [
        "# Packs on a CPU",
        "`benchmarks/packs.py`: trial-iterations a second (training steps of all trials together) "
        f"of exprnn on copying, {chosen.length} steps, batch {chosen.batch}, {chosen.hidden} "
        f"units; {chosen.rounds} rounds of {chosen.seconds:g} s each, in turns, medians. "
        f"One-minute load before the start: {load:.2f}.",
        f"- **{CONTESTANTS['host']}**: P trials in `longhaul.search.pack_host.PackHost` with "
        f"{chosen.threads} threads, as `resources: {{slots: P, cpus: {chosen.threads}}}` has it; "
        "nothing is evaluated.\n"
        f"- **{CONTESTANTS['batched']}**: all of them in one `Pack`, torch on {chosen.threads} "
        "threads.\n"
        f"- **{CONTESTANTS['sequential']}**: a pack of one, torch on {chosen.threads} threads, as "
        "often as there are trials.\n"
        f"- **{CONTESTANTS['alone']}**: {chosen.threads} processes with a pack of one each, on one "
        "thread, as `resources: {slots: 1}` has it.\n"
        f"- **{CONTESTANTS['plain']}**: P processes of `benchmarks/plain_loop.py` at once, one "
        "thread each.",
        _table(
            ["P", *CONTESTANTS.values(), "host / one by one", "host / processes", "host / plain"],
            rows,
        ),
        f"\\* Against {most} processes: more of them do not fit beside each other."
        if most and len(speeds) > sum("plain" in row for row in speeds.values())
        else "",
        "## What a pack host's training threads do",
        f"From taking P trials of {chosen.steps} steps on to their results: each is evaluated on "
        f"{EVALUATED} sequences every {EVALUATE_EVERY} steps, diagnosed at the end, tested on "
        f"{EVALUATED} sequences, and its state copied at the end and every 5 s. Other: building "
        "packs, drawing the fixed sets, telling of trials, waiting for each other at the end. "
        "Making bytes of states and writing files is left to the threads and processes that ask.",
        _table(
            ["P", "stepping", "evaluating", "testing", "copying states", "other"],
            [[slots, *(f"{part:.1%}" for part in one.values())] for slots, one in shares.items()],
        ),
        machine_table(["torch"]),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["--:"] * len(head), *rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in lines)


def main() -> None:
    """Measures, and writes the page and the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--slots", default="1,4,16,64")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--length", type=int, default=200)
    parser.add_argument("--batch", type=int, default=20)
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--processes", type=int, default=16, help="plain loops at once, at most")
    parser.add_argument("--stalls", default="1,16", help="P of the second table")
    parser.add_argument("--steps", type=int, default=200, help="of the second table's trials")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the results")
    chosen = parser.parse_args()
    chosen.slots = [int(one) for one in chosen.slots.split(",")]
    chosen.stalls = [int(one) for one in chosen.stalls.split(",") if one]
    load = os.getloadavg()[0]
    found = measure(chosen, Shape(chosen.length, chosen.batch, chosen.hidden))
    chosen.output.mkdir(parents=True, exist_ok=True)
    (chosen.output / "packs.json").write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    text = page(found, chosen, load)
    (chosen.output / "packs.md").write_text(text, "utf-8")
    print(text, end="")


if __name__ == "__main__":
    main()
