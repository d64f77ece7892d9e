"""Putting the past of a recorded search to the same sampler and scheduler once more."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Literal

from longhaul.ledger import Event, EventKind
from longhaul.ledger.exact_json import dumps, loads
from longhaul.search.scheduler import LedgerASHA, NoStopping, build_scheduler
from longhaul.search.study import SpaceExhaustedError, Study
from longhaul.spec.search_spec import SearchSpec
from longhaul.summary import flatten


@dataclass(frozen=True)
class Difference:
    """A decision that comes out otherwise than recorded.

    Attributes:
        event: the sequence number of the event that records it.
        trial: the trial's number.
        what: ``suggestion`` or ``decision``.
        step: the step of the report that was decided on; None for a suggestion.
        recorded: the leaves of the configuration that differ, by dotted name; or ``continue``,
            ``stop`` or ``done``.
        found: the same now; None where the sampler finds no new configuration.
    """

    event: int
    trial: int
    what: Literal["suggestion", "decision"]
    step: int | None
    recorded: Mapping[str, Any] | str
    found: Mapping[str, Any] | str | None


@dataclass(frozen=True)
class Replayed:
    """What came of it.

    Attributes:
        suggestions: how many there were.
        decisions: how many reports were decided on.
        differences: those that came out otherwise, in the order of the ledger.
    """

    suggestions: int
    decisions: int
    differences: tuple[Difference, ...]


def replay(spec: SearchSpec, events: Iterable[Event]) -> Replayed:
    """Asks for every suggestion and decision of a search again, each after its recorded past.

    A difference does not carry on: what follows it is asked for after what was recorded.

    Args:
        spec: what was searched.
        events: the search's events, in order.
    """
    repeated = _Replay(spec)
    for event in events:
        repeated.take(event)
    return Replayed(repeated.suggestions, repeated.decisions, tuple(repeated.differences))


class _Replay:
    def __init__(self, spec: SearchSpec) -> None:
        self.suggestions = 0
        self.decisions = 0
        self.differences: list[Difference] = []
        self._spec = spec
        self._past: list[Event] = []
        self._study = Study(spec)
        self._scheduler: LedgerASHA | NoStopping = build_scheduler(spec, self)
        self._decision = ""

    def take(self, event: Event) -> None:
        """The next event of the ledger."""
        if event.trial is None:
            return
        if event.kind is EventKind.SUGGESTED:
            self._suggested(event, event.trial)
        else:
            if event.kind is EventKind.REPORTED:
                self._reported(event, event.trial)
            self._study.rebuild([event])
        self._past.append(event)

    def heard(self, tune_id: str, result: Mapping[str, Any]) -> bool:
        """See `longhaul.search.scheduler.Decisions`: every report is new."""
        return False

    def decided(self, tune_id: str, result: Mapping[str, Any], decision: str) -> None:
        """See `longhaul.search.scheduler.Decisions`."""
        self._decision = decision

    def failed(self, tune_id: str, error: str) -> None:
        """See `longhaul.search.scheduler.Decisions`: what failed is in the ledger."""

    def _suggested(self, event: Event, number: int) -> None:
        self.suggestions += 1
        try:
            config = loads(dumps(self._study.suggest(number).config))
        except SpaceExhaustedError:
            config = None
        recorded, found = _unequal(event.data["config"], config)
        if recorded:
            self._differs(event, number, "suggestion", None, recorded, found)
            self._study = Study(self._spec)
            self._study.rebuild([*self._past, event])
        self._scheduler.on_trial_add(None, _trial(number))

    def _reported(self, event: Event, number: int) -> None:
        self.decisions += 1
        step, recorded = event.data["step"], event.data["decision"]
        result = {"step": step, "value": event.data["value"]}
        self._decision = "done"  # at its last step a trial ends whatever the others do
        if step < self._spec.max_steps or not math.isfinite(event.data["value"]):
            self._scheduler.on_trial_result(None, _trial(number), result)
        if self._decision != recorded:
            self._differs(event, number, "decision", step, recorded, self._decision)

    def _differs(
        self,
        event: Event,
        number: int,
        what: Literal["suggestion", "decision"],
        step: int | None,
        recorded: Mapping[str, Any] | str,
        found: Mapping[str, Any] | str | None,
    ) -> None:
        self.differences.append(Difference(event.sequence, number, what, step, recorded, found))


def _trial(number: int) -> SimpleNamespace:
    """What a scheduler looks at of one of Tune's trials."""
    return SimpleNamespace(trial_id=str(number))


def _unequal(
    recorded: Mapping[str, Any], found: Mapping[str, Any] | None
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The recorded leaves that are others now, by dotted name.

    A leaf that was not recorded is a setting that came later, and nobody's decision.
    """
    one = dict(flatten(recorded))
    if found is None:
        return one, None
    other = dict(flatten(found))
    names = [name for name, value in one.items() if name not in other or other[name] != value]
    return {name: one[name] for name in names}, {n: other[n] for n in names if n in other}
