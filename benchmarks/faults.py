"""The fault table: what a search keeps when things break, and what the plain stack keeps.

    .venv/bin/python benchmarks/faults.py [TEST ...] [-k EXPRESSION]

Runs every test that carries the marker ``fault``, also the slow ones, and writes faults.md and
faults.json to benchmarks/results/. Where only some are run, the others keep what became of them
last. The column of the plain stack is what plain_faults.py measured last.
"""

import argparse
import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from fault_rows import ROWS
from machine import machine_table

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results"
COUNTS = ("reports", "lost", "doubled")
"""What a test may record with pytest's ``record_property``: integers."""
WHOLE = {"new_project", "soak"}
"""Fixtures of the tests that break whole searches."""


@dataclass
class Outcome:
    """What became of one test.

    Attributes:
        row: of the table.
        what: is broken, in words.
        result: passed, failed or skipped.
        counts: reports acknowledged under the fault, and how many of them were lost or doubled.
        seconds: it took.
        reason: why it was skipped.
        note: what else it measured, in words; recorded as the property ``note``.
        date: when it was run.
        version: of what was tested.
        whole: whether a whole search was broken, with processes of its own, or a part alone.
    """

    row: str
    what: str
    result: str = "not run"
    counts: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    reason: str = ""
    note: str = ""
    date: str = ""
    version: str = ""
    whole: bool = False


class Recorder:
    """A plug-in of pytest that notes what the tests with the marker say and do.

    Args:
        keep: called with all outcomes so far when a test has ended.
    """

    def __init__(
        self, keep: Callable[[dict[str, Outcome]], object] = lambda outcomes: None
    ) -> None:
        self.outcomes: dict[str, Outcome] = {}
        self._keep = keep
        self._version = tested_version()

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """Notes what there is."""
        for item in items:
            mark = item.get_closest_marker("fault")
            if mark is not None:
                whole = not WHOLE.isdisjoint(item.fixturenames)
                row, what = mark.args
                self.outcomes[item.nodeid] = Outcome(row, what, whole=whole)

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Notes what became of it; a failure in any phase stays one."""
        outcome = self.outcomes.get(report.nodeid)
        if outcome is None:
            return
        outcome.seconds += report.duration
        outcome.date, outcome.version = f"{datetime.now(UTC):%Y-%m-%d}", self._version
        for name, value in report.user_properties if report.when == "teardown" else ():
            if name == "note":
                outcome.note = str(value)
            elif name in COUNTS:
                outcome.counts[name] = outcome.counts.get(name, 0) + int(value)
        if report.outcome == "skipped":
            outcome.result, outcome.reason = "skipped", str(report.longrepr[-1])
        elif report.outcome == "failed" or (report.when == "call" and outcome.result != "failed"):
            outcome.result = report.outcome
        if report.when == "teardown":
            self._keep(self.outcomes)


def tested_version() -> str:
    """Version and, in a checkout, commit; a "+" says that files were changed since."""
    words = ["git", "-C", str(FOLDER), "describe", "--always", "--dirty=+", "--exclude=*"]
    found = subprocess.run(words, capture_output=True, text=True, check=False)
    return f"{version('longhaul')} {found.stdout.strip()}".strip()


def page(outcomes: Iterable[Outcome], plain: dict[str, Any], load: float) -> str:
    """The table as Markdown."""
    by_row: dict[str, list[Outcome]] = defaultdict(list)
    for one in outcomes:
        by_row[one.row].append(one)
    head = ["fault", "expected, besides", "tests (of whole searches)", "result"]
    head += ["lost", "doubled", "plain stack"]
    lines = [_line(head), _line(["---"] * 3 + ["---", "--:", "--:", "---"])]
    details = []
    for key, row in ROWS.items():
        found = by_row.get(key, [])
        told = plain.get("rows", {}).get(key, "not run")
        whole = sum(one.whole for one in found)
        cells = [row.title, row.expected, f"{len(found)} ({whole})", _result(found)]
        lines.append(_line([*cells, _count(found, "lost"), _count(found, "doubled"), told]))
        details += [f"- **{row.title}**", *_what(found)]
    skipped = sorted({one.reason for ones in by_row.values() for one in ones if one.reason})
    return "\n".join(
        [
            PREFACE.format(load=load, plain=plain.get("title", "not measured yet")),
            *lines,
            "",
            "## What is broken",
            "",
            *details,
            "",
            *(f"Skipped: {reason}" for reason in skipped),
            machine_table(["ray", "optuna", "mlflow", "torch"]),
            "",
        ]
    )


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _result(found: list[Outcome]) -> str:
    counted: dict[str, int] = defaultdict(int)
    for one in found:
        counted[one.result] += 1
    if not found:
        return "no test"
    if set(counted) == {"passed"}:
        return "held"
    return ", ".join(f"{count} {result}" for result, count in sorted(counted.items()))


def _count(found: list[Outcome], name: str) -> str:
    """So many of so many reports; empty where no test counted."""
    counts = [one.counts for one in found if one.counts]
    if not counts:
        return ""
    return f"{sum(c.get(name, 0) for c in counts):,} of {sum(c['reports'] for c in counts):,}"


def _what(found: list[Outcome]) -> list[str]:
    told: dict[str, list[Outcome]] = defaultdict(list)
    for one in found:
        told[one.what].append(one)
    return [_test(what, ones) for what, ones in told.items()]


def _test(what: str, ones: list[Outcome]) -> str:
    facts = [f"{len(ones)} test{'s' * (len(ones) > 1)}"]
    facts += [f"{sum(one.seconds for one in ones):.0f} s"]
    facts += sorted({f"{one.date}, {one.version}" for one in ones if one.date})
    notes = "".join(f": {one.note}" for one in ones if one.note)
    return f"  - {what} ({'; '.join(facts)}){notes}"


PREFACE = """\
# What a search keeps when things break

Written by `make faults`. Each test breaks the real thing: kills the process, fills the disk, cuts
the network. After it, in a whole search:

1. every report that was acknowledged is in the ledger exactly once and, delivered, in MLflow
   exactly once;
2. no trial is left running;
3. N planned trials are N trials, none proposed or ended twice;
4. the exit status is true;
5. every curve, bit for bit, and every decision is that of the undisturbed search.

Tests of a part alone, a ledger's writer for instance, see to what is that part's own.
"Lost" and "doubled" are counted in whole searches against a log that the trials' own processes
keep; rows without a figure are held by assertions alone.

Plain stack: {plain}.
One-minute load of the machine before the last run: {load:.2f}.
"""


def merged(before: dict[str, Outcome], now: dict[str, Outcome], whole: bool) -> dict[str, Outcome]:
    """What became of each test last, by its name.

    Args:
        before: from earlier runs.
        now: from this one.
        whole: whether this one looked at all tests; those that it did not find are gone.
    """
    kept = {name: one for name, one in before.items() if name in now or not whole}
    ran = {name: one for name, one in now.items() if one.date or name not in kept}
    return kept | ran


def keep(now: dict[str, Outcome], whole: bool = False) -> dict[str, Outcome]:
    """Adds outcomes to those that are kept, and gives all of them."""
    file = RESULTS / "faults.json"
    before = json.loads(file.read_text("utf-8")) if file.exists() else {}
    outcomes = merged({name: Outcome(**one) for name, one in before.items()}, now, whole)
    saved = {name: asdict(one) for name, one in sorted(outcomes.items())}
    file.write_text(json.dumps(saved, indent=1) + "\n", "utf-8")
    return outcomes


def main() -> int:
    """Runs the tests and writes the page."""
    parser = argparse.ArgumentParser(description="Breaks everything there is a test for.")
    parser.add_argument("tests", nargs="*", help="files or single tests; all where none is named")
    parser.add_argument("-k", default="", metavar="EXPRESSION", help="as pytest's")
    options = parser.parse_args()
    load, root, recorder = os.getloadavg()[0], FOLDER.parent, Recorder(keep)
    words = ["-o", "addopts=", "--import-mode=importlib", "--strict-markers", "-rs", "-v"]
    words += ["--rootdir", str(root), "-m", "fault", "-k", options.k]
    status = pytest.main([*words, *(options.tests or [str(root / "tests")])], plugins=[recorder])
    outcomes = keep(recorder.outcomes, whole=not options.tests)
    file = RESULTS / "plain_faults.json"
    plain = json.loads(file.read_text("utf-8")) if file.exists() else {}
    text = page(outcomes.values(), plain, load)
    (RESULTS / "faults.md").write_text(text, encoding="utf-8")
    print(text, end="")
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
