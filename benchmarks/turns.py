"""Timing contestants that take turns, so that a busy machine is busy for all of them."""

import statistics
import time
from collections.abc import Callable, Mapping

LEAST_ROUNDS = 5
Run = Callable[[], object]


def medians_ms(runs: Mapping[str, Run], seconds: float) -> dict[str, float]:
    """The median time of each, taking turns for so many seconds, at least five turns."""
    for run in runs.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in runs}
    started = time.perf_counter()
    while len(times[next(iter(runs))]) < LEAST_ROUNDS or time.perf_counter() - started < seconds:
        for name, run in runs.items():
            before = time.perf_counter()
            run()
            times[name].append(1000 * (time.perf_counter() - before))
    return {name: statistics.median(taken) for name, taken in times.items()}
