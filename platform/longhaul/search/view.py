"""What a running search shows: a live line on a terminal, plain lines otherwise."""

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from longhaul.ledger import SearchRecord
from longhaul.ledger.record import ENDED
from longhaul.search.log import EVENTS
from longhaul.summary import objective_of

if TYPE_CHECKING:
    from rich.console import Console

PLAIN_EVERY_S = 15.0
"""Seconds between plain lines, besides those at the end of each trial."""


@dataclass(frozen=True)
class Progress:
    """A search in numbers.

    Attributes:
        ended, trials: trials that are over, and all of them.
        counts: trials by state.
        best: what the best finished trial reached and its number, None before the first.
        steps_per_second: training steps reported since this run began, over its time.
        seconds_left: a guess, None before the first trial has ended.
    """

    ended: int
    trials: int
    counts: dict[str, int]
    best: tuple[str, int] | None
    steps_per_second: float
    seconds_left: float | None

    def text(self) -> str:
        """One line."""
        parts = [f"{self.ended}/{self.trials} trials"]
        parts += [f"{count} {state}" for state, count in self.counts.items() if count]
        if self.best is not None:
            parts.append(f"best {self.best[0]} (trial {self.best[1]})")
        parts.append(f"{self.steps_per_second:.0f} steps/s")
        if self.seconds_left is not None:
            parts.append(f"about {clock(self.seconds_left)} left")
        return " · ".join(parts)


class ProgressMeter:
    """Measures a run from its beginning."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._before: tuple[int, int] | None = None

    def measure(self, record: SearchRecord, trials: int) -> Progress:
        """The progress by now."""
        counts = record.counts()
        ended = sum(n for state, n in counts.items() if state in ENDED)
        steps = record.steps_trained
        if self._before is None:
            self._before = ended, steps
        elapsed = max(time.monotonic() - self._began, 1e-3)
        speed = (steps - self._before[1]) / elapsed
        best = record.best()
        left = None
        if ended > self._before[0] and speed > 0:
            # Early stopping makes the mean length of a trial a better guess than its longest.
            left = max(0.0, (trials - ended) * (steps / ended) / speed)
        return Progress(
            ended,
            trials,
            {str(state): count for state, count in counts.items()},
            None if best is None else (objective_of(record).text(best.value), best.number),
            speed,
            left,
        )


class TerminalView:
    """One line that is redrawn in place."""

    def __init__(self, console: "Console") -> None:
        # imported here: 0.1 s
        from rich.status import Status

        self._meter = ProgressMeter()
        self._console = console
        self._status = Status("", console=console)

    def message(self, text: str) -> None:
        """Shows a line until the next one."""
        self._status.start()
        self._status.update(text)

    def note(self, text: str) -> None:
        """Prints a line above."""
        self._console.print(text, markup=False)

    def warn(self, text: str) -> None:
        """Prints a line above."""
        self._console.print(f"warning: {text}", markup=False)

    def show(self, record: SearchRecord, trials: int) -> None:
        """Redraws the line."""
        self._status.start()
        self._status.update(self._meter.measure(record, trials).text())

    def close(self) -> None:
        """Clears the line."""
        self._status.stop()


class PlainView:
    """A line whenever a trial ends, and now and then."""

    def __init__(self, say: Any) -> None:
        self._meter = ProgressMeter()
        self._say = say
        self._shown: tuple[int, float] = (-1, 0.0)

    def message(self, text: str) -> None:
        """Prints the line."""
        self._say(text)

    def note(self, text: str) -> None:
        """Prints the line."""
        self._say(text)

    def warn(self, text: str) -> None:
        """Prints the line."""
        self._say(f"warning: {text}")

    def show(self, record: SearchRecord, trials: int) -> None:
        """Prints a line if there is news."""
        ended, when = self._shown
        progress = self._meter.measure(record, trials)
        if progress.ended != ended or time.monotonic() - when > PLAIN_EVERY_S:
            self._shown = (progress.ended, time.monotonic())
            self._say(progress.text())

    def close(self) -> None:
        """Nothing is left to clear."""


class LogView:
    """Lines of the log, for programs: what is going on, and now and then how far it is."""

    def __init__(self) -> None:
        self._meter = ProgressMeter()
        self._shown = 0.0

    def message(self, text: str) -> None:
        """Logs the text."""
        EVENTS.info("%s", text, extra={"fields": {"kind": "message"}})

    def note(self, text: str) -> None:
        """Logs the text."""
        self.message(text)

    def warn(self, text: str) -> None:
        """Logs the text."""
        EVENTS.warning("%s", text, extra={"fields": {"kind": "message"}})

    def show(self, record: SearchRecord, trials: int) -> None:
        """Logs the progress, if that was not just done."""
        if time.monotonic() - self._shown > PLAIN_EVERY_S:
            self._shown = time.monotonic()
            progress = self._meter.measure(record, trials)
            fields = {"kind": "progress", **asdict(progress)}
            EVENTS.info("%s", progress.text(), extra={"fields": fields})

    def close(self) -> None:
        """Nothing is left to clear."""


def clock(seconds: float) -> str:
    """A duration for people, for example ``2 min 5 s``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
