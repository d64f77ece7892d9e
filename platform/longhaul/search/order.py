"""The order in which the reports of a search are decided on."""

from collections.abc import Callable, Collection, Iterable, Sequence

from longhaul.ledger import Event, EventKind


class ArrivalOrder:
    """Whoever reports first is decided on first: nobody waits."""

    def room(self) -> bool:
        """Whether another trial may be handed out now."""
        return True

    def begun(self, number: int, step: int) -> None:
        """A trial was handed out; it has been decided on up to a step."""

    def went_on(self, number: int, step: int) -> None:
        """A trial goes on from a step."""

    def left(self, number: int) -> None:
        """A trial is over."""

    def turn(self, failures: Collection[int], *, more: bool) -> int | None:
        """Which trial is next; None: whoever reports, or nobody before the next suggestion.

        Args:
            failures: trials that have failed, which is not recorded yet.
            more: whether there are trials still to be handed out.
        """
        return min(failures, default=None)

    def let(self, number: int) -> None:
        """Lets the next report of a trial come."""


class NumberOrder(ArrivalOrder):
    """Decides as if all trials trained equally fast: by steps done, then by the trial's number.

    A trial's clock shows the step at which it was suggested, on the clock of the trial whose end
    made room for it, and the steps that it has done since. So the order depends on what was
    decided alone, never on speed, load or where a trial runs; it is the same when the search is
    interrupted and taken up again. Nobody's report comes before it is let: there is one at most
    that may.

    Args:
        window: trials that run at once. With fewer of them running nothing is decided as long as
            there are more.
        rungs: ascending step counts at which trials report.
        events: the search's events so far, in order.
        let: lets the report of a trial (its number) at a step come.
    """

    def __init__(
        self,
        window: int,
        rungs: Sequence[int],
        events: Iterable[Event],
        let: Callable[[int, int], None],
    ) -> None:
        self._window = window
        self._rungs = tuple(rungs)
        self._let = let
        self._now = 0
        self._starts: dict[int, int] = {}
        # The step of the next report of each trial that is not over.
        self._next: dict[int, int] = {}
        self._handed_out: set[int] = set()
        for event in events:
            self._apply(event)

    def room(self) -> bool:
        """See `ArrivalOrder.room`."""
        return len(self._handed_out) < self._window

    def begun(self, number: int, step: int) -> None:
        """See `ArrivalOrder.begun`."""
        self._handed_out.add(number)
        self._open(number, step)

    def went_on(self, number: int, step: int) -> None:
        """See `ArrivalOrder.went_on`."""
        self._now = self._time(number)
        self._open(number, step)

    def left(self, number: int) -> None:
        """See `ArrivalOrder.left`."""
        self._now = self._time(number)
        del self._next[number]
        self._handed_out.discard(number)

    def turn(self, failures: Collection[int], *, more: bool) -> int | None:
        """See `ArrivalOrder.turn`."""
        if not self._next or (more and len(self._next) < self._window):
            return None
        return min(self._next, key=lambda number: (self._time(number), number))

    def let(self, number: int) -> None:
        """See `ArrivalOrder.let`."""
        self._let(number, self._next[number])

    def _open(self, number: int, step: int) -> None:
        self._starts.setdefault(number, self._now)
        self._next[number] = next(rung for rung in self._rungs if rung > step)

    def _time(self, number: int) -> int:
        return self._starts[number] + self._next[number]

    def _apply(self, event: Event) -> None:
        number = event.trial
        if number is None:
            return
        if event.kind is EventKind.SUGGESTED:
            self._open(number, 0)
        elif event.kind is EventKind.REPORTED and event.data["decision"] == "continue":
            self.went_on(number, event.data["step"])
        elif event.kind in (
            EventKind.STOPPED,
            EventKind.FINISHED,
            EventKind.DIVERGED,
            EventKind.FAILED,
        ):
            self.left(number)
