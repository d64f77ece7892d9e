"""What must be true of a whole search after any fault; one checker for all of them."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

ENDED = {"completed", "stopped", "diverged", "failed"}
RUNGS = [5, 15, 45]
"""Of the projects' spaces."""
STATUS = {"completed": 0, "interrupted": 130, "failed": 1}


@dataclass(frozen=True)
class Tally:
    """Reports that the trials' processes saw acknowledged, and what became of them."""

    reports: int
    lost: int
    doubled: int


@dataclass(frozen=True)
class Invariants:
    """The checker; each method raises where something does not hold.

    Attributes:
        expected_history: the curve of a configuration as the trainers alone produce it.
        recorded_history: the same from a ledger.
        content_of, equals_ledger: all that MLflow holds, and its comparison with a ledger.
        counted: the last tally, by name.
    """

    expected_history: Callable[..., Any]
    recorded_history: Callable[..., Any]
    content_of: Callable[..., Any]
    equals_ledger: Callable[..., None]
    counted: dict[str, int] = field(default_factory=dict)

    def hold(self, project: Any, name: str, trials: int, driver: Any = None) -> None:
        """Of a search that is complete, with all its trials.

        Args:
            project: the user's folder, with its witness of what was acknowledged.
            name: the search.
            trials: how many were planned.
            driver: the last one; its exit status must tell the truth.
        """
        ledger = project.ledger(name)
        record = ledger.record()
        self.exactly_once(project, name)
        assert not ledger.is_owned()
        assert {trial.state for trial in record.trials.values()} <= ENDED
        if driver is not None:
            assert driver.popen.returncode == STATUS[record.state], driver.stderr
            assert "Traceback" not in driver.stderr
        self.planned(ledger, trials)
        self.undisturbed(project, name)

    def exactly_once(self, project: Any, name: str) -> Tally:
        """Every acknowledged point and report is in the ledger once, and nobody's is there twice.

        May be asked at any time: what a reader has seen once must stay as it was, too.
        """
        project.check_nothing_is_lost(name)
        ledger = project.ledger(name)
        told = project.witnessed()
        points = {(one["trial"], one["row"]["step"]) for one in told if "row" in one}
        events = [one for one in told if one.get("kind") == "reported"]
        reports = {(one["trial"], one["data"]["step"]) for one in events}
        there = Counter(
            (event.trial, event.data["step"])
            for event in ledger.events()
            if event.kind == "reported"
        )
        rows = Counter(
            (number, step)
            for number in ledger.trial_numbers()
            for step in ledger.trial(number).history()["step"].to_pylist()
        )
        lost = len(points - rows.keys()) + len(reports - there.keys())
        doubled = sum(count - 1 for counts in (there, rows) for count in counts.values())
        tally = Tally(len(points) + len(reports), lost, doubled)
        self.counted.update(vars(tally))
        assert (tally.lost, tally.doubled) == (0, 0)
        return tally

    def planned(self, ledger: Any, trials: int) -> None:
        """N planned trials are N trials: each suggested once, each with one end, none alike."""
        record = ledger.record()
        assert sorted(record.trials) == list(range(trials))
        kinds = Counter((event.trial, event.kind) for event in ledger.events())
        ends = ("finished", "stopped", "diverged", "failed")
        for number in record.trials:
            assert kinds[number, "suggested"] == 1
            assert sum(kinds[number, end] for end in ends) == 1
        seeds = {trial.seed for trial in record.trials.values()}
        assert len(seeds) == trials

    def undisturbed(self, project: Any, name: str) -> None:
        """Curves and decisions are those that they would have been without the fault."""
        # A process, because the cells of the project are known there alone.
        replayed = project.run("replay", name, "--json")
        assert replayed.popen.returncode == 0, replayed.stderr
        ledger = project.ledger(name)
        record = ledger.record()
        for number, trial in record.trials.items():
            steps = [step for step, _ in trial.reports]
            assert steps == RUNGS[: len(steps)]
            if trial.state in ("completed", "stopped"):
                recorded = self.recorded_history(ledger, number)
                expected = self.expected_history(trial.config, steps)
                differing = {
                    step: (recorded.get(step), expected.get(step))
                    for step in recorded.keys() | expected.keys()
                    if recorded.get(step) != expected.get(step)
                }
                assert not differing, (number, differing)
        complete = [one for one in record.trials.values() if one.state == "completed"]
        best = record.best()
        assert (best is None) == (not complete)
        if best is not None:
            assert best.value == min(one.value for one in complete)

    def delivered(self, project: Any, name: str, tracking_uri: str | None = None) -> None:
        """MLflow has what the ledger has, value by value, once, and shows nobody running."""
        uri = tracking_uri or project.tracking_uri
        content = self.content_of(uri)
        ledger = project.ledger(name)
        assert len(content) == len(ledger.record().trials) + 1
        self.equals_ledger(content, ledger)
