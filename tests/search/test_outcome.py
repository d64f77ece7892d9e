"""What a search says of itself, while it runs and at its end."""

import io
import math

import pytest
from rich.console import Console

from longhaul.ledger import EventKind, Ledger, SearchState
from longhaul.search.outcome import cell_table, outcome, summary_lines
from longhaul.search.view import PlainView, ProgressMeter, TerminalView, clock

BASELINE = 0.1733


@pytest.fixture
def record(tmp_path):
    ledger = Ledger.create(tmp_path, "s", "a: 1", {})
    ends = [
        ("exprnn", EventKind.FINISHED, {"step": 90, "value": 0.01}),
        ("exprnn", EventKind.STOPPED, {"step": 10, "value": 0.005}),
        ("lstm", EventKind.FINISHED, {"step": 90, "value": 0.17}),
        ("lstm", EventKind.DIVERGED, {"step": 3, "reason": "training loss is nan"}),
        ("lstm", EventKind.FAILED, {"reason": "it broke", "attempts": 2}),
        ("gru", None, {}),
    ]
    with ledger.acquire() as writer:
        for number, (cell, kind, data) in enumerate(ends):
            config = {"cell": {"name": cell}, "training": {"steps": 90}, "seed": number}
            writer.append(EventKind.SUGGESTED, number, params={}, distributions={}, config=config)
            if kind is not None:
                writer.append(kind, number, **data)
    return ledger.record()


def test_the_best_is_one_that_ran_to_its_end(record):
    result = outcome(record, BASELINE, SearchState.COMPLETED, None)
    assert (result.best, result.value) == (0, 0.01)
    assert result.config["cell"]["name"] == "exprnn"


def test_cells_are_listed_with_the_best_they_reached(record):
    cells = outcome(record, BASELINE, SearchState.COMPLETED, None).cells
    shown = [(one.cell, one.trials, one.finished, one.value, one.trial, one.step) for one in cells]
    assert shown == [
        ("exprnn", 2, 1, 0.005, 1, 10),
        ("lstm", 3, 1, 0.17, 2, 90),
        ("gru", 1, 0, None, None, None),
    ]
    console = Console(file=io.StringIO(), width=100)
    console.print(cell_table(outcome(record, BASELINE, SearchState.COMPLETED, None)))
    lines = console.file.getvalue().splitlines()
    assert "0.981" in next(line for line in lines if line.startswith("lstm"))


def test_the_summary_says_how_far_below_the_baseline_and_what_was_saved(record):
    lines = summary_lines(outcome(record, BASELINE, SearchState.COMPLETED, None))
    assert "17.3 times below the trivial baseline 0.1733" in lines[1]
    # 80 steps of the stopped trial and 87 of the diverged one were not trained.
    assert "saved 167 of 360 training steps (46 %)" in lines[2]
    assert lines[0].startswith("6 trials: ")


def test_a_search_without_a_finished_trial_has_no_best(record):
    for number in (0, 2):
        del record.trials[number]
    record.best_number = None
    result = outcome(record, BASELINE, "failed", "all stopped")
    assert result.best is None
    assert result.value is None
    assert len(summary_lines(result)) == 2


def test_a_loss_above_the_baseline_is_not_called_below(record):
    lines = summary_lines(outcome(record, 0.001, SearchState.COMPLETED, None))
    assert "10.0 times above the trivial baseline 0.0010" in lines[1]


def test_progress_counts_what_ended_and_guesses_the_rest(record):
    meter = ProgressMeter()
    progress = meter.measure(record, 12)
    assert (progress.ended, progress.trials) == (5, 12)
    assert progress.best == ("0.01", 0)
    assert progress.seconds_left is None  # nothing has ended since the meter began
    assert progress.steps_per_second == 0.0
    meter._before = (0, 0)
    later = meter.measure(record, 12)
    assert later.steps_per_second > 0
    expected = 7 * (record.steps_trained / 5) / later.steps_per_second
    assert later.seconds_left == pytest.approx(expected)
    text = later.text()
    assert text.startswith("5/12 trials · 1 suggested · 2 completed")
    assert "best 0.01 (trial 0)" in text


def test_plain_lines_come_with_news_only(record):
    said = []
    view = PlainView(said.append)
    for _ in range(5):
        view.show(record, 12)
    view.warn("careful")
    assert len(said) == 2
    assert said[1] == "warning: careful"


def test_a_terminal_gets_one_line_that_is_cleared(record):
    console = Console(file=io.StringIO(), force_terminal=True, width=200)
    view = TerminalView(console)
    view.message("starting Ray ...")
    view.show(record, 12)
    view.close()
    written = console.file.getvalue()
    assert "5/12 trials" in written
    assert written.endswith("\x1b[?25h\r\x1b[1A\x1b[2K") or "\x1b[2K" in written


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.4, "0 s"), (59.6, "1 min 0 s"), (125, "2 min 5 s"), (3725, "1 h 2 min")],
)
def test_durations_are_for_people(seconds, shown):
    assert clock(seconds) == shown


def test_nothing_in_it_breaks_json(record):
    import json

    from longhaul.cli.output import to_json

    data = json.loads(to_json(outcome(record, BASELINE, SearchState.COMPLETED, None).as_dict()))
    assert data["best"] == 0
    assert math.isclose(data["cells"][0]["value"], 0.005)
