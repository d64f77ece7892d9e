"""Timing contestants that take turns, so that a busy machine is busy for all of them.

A turn is a few runs on end, the first of which is not timed: it finds the caches as another
contestant left them, which no training loop ever does.
"""

import statistics
import time
from collections.abc import Callable, Mapping

LEAST_ROUNDS = 5
TURN_S = 0.04
"""A turn's timed runs take as long as this, or one of them does."""
Run = Callable[[], object]


def medians_ms(runs: Mapping[str, Run], seconds: float) -> dict[str, float]:
    """The median time of each, taking turns for so many seconds, at least five turns."""
    for run in runs.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in runs}
    started, rounds = time.perf_counter(), 0
    while rounds < LEAST_ROUNDS or time.perf_counter() - started < seconds:
        rounds += 1
        for name, run in runs.items():
            run()
            begun = time.perf_counter()
            while (before := time.perf_counter()) - begun < TURN_S:
                run()
                times[name].append(1000 * (time.perf_counter() - before))
    return {name: statistics.median(taken) for name, taken in times.items()}
