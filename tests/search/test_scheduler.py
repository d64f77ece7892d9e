"""ASHA as this project needs it, without Ray running."""

import math
from types import SimpleNamespace

import pytest
from ray.tune.schedulers import TrialScheduler

from longhaul.search.scheduler import LedgerASHA, NoStopping

RUNGS = [1, 3, 9, 20]


class Notes:
    def __init__(self):
        self.decisions = []
        self.known = set()

    def heard(self, tune_id, result):
        return (tune_id, result["step"]) in self.known

    def decided(self, tune_id, result, decision):
        self.decisions.append((tune_id, result["step"], decision))

    def failed(self, tune_id, error):
        self.decisions.append((tune_id, error))


def trial(name):
    return SimpleNamespace(trial_id=name, error_file=None)


def asha(notes=None):
    return LedgerASHA(notes or Notes(), RUNGS, 3)


def report(scheduler, name, step, value):
    return scheduler.on_trial_result(None, trial(name), {"step": step, "value": value})


def add(scheduler, *names):
    for name in names:
        scheduler.on_trial_add(None, trial(name))


def test_one_in_three_goes_on_from_a_rung():
    scheduler = asha()
    names = [f"t{i}" for i in range(9)]
    add(scheduler, *names)
    decisions = [report(scheduler, name, 1, 0.1 * i) for i, name in enumerate(names)]
    assert decisions[0] == TrialScheduler.CONTINUE
    assert decisions[3:] == [TrialScheduler.STOP] * 6


def test_rungs_are_exactly_ours_whatever_logarithms_round_to():
    for factor in range(2, 9):
        rungs = [7 * factor**k for k in range(5)] + [7 * factor**4 + 1]
        scheduler = LedgerASHA(Notes(), rungs, factor)
        assert [milestone for milestone, _ in scheduler._brackets[0]._rungs] == rungs[-2::-1]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.fault("number", "NaN and infinities as a reported value")
def test_a_value_that_is_not_finite_stops_at_once_and_enters_no_rung(value):
    notes = Notes()
    for scheduler in (asha(notes), NoStopping(notes)):
        add(scheduler, "bad")
        assert report(scheduler, "bad", 1, value) == TrialScheduler.STOP
    assert notes.decisions == [("bad", 1, "stop")] * 2
    scheduler = asha()
    add(scheduler, "bad", "good")
    report(scheduler, "bad", 1, value)
    assert all(not recorded for _, recorded in scheduler._brackets[0]._rungs)
    assert report(scheduler, "good", 1, 5.0) == TrialScheduler.CONTINUE


def test_refilled_rungs_decide_as_the_ones_that_were_lost():
    values = {0: [(1, 0.5), (3, 0.4), (9, 0.3)], 1: [(1, 0.6), (3, 0.45)], 2: [(1, 0.9)]}
    lived, refilled = asha(), asha()
    add(lived, *(str(n) for n in values))
    for number, heard in values.items():
        for step, value in heard:
            report(lived, str(number), step, value)
    refilled.refill(values)
    for (step, one), (_, other) in zip(
        lived._brackets[0]._rungs, refilled._brackets[0]._rungs, strict=True
    ):
        assert sorted(one.values()) == sorted(other.values()), step
    for scheduler in (lived, refilled):
        add(scheduler, "new")
    for value in (0.2, 0.55, 0.7, 2.0):
        assert report(lived, "new", 1, value) == report(refilled, "new", 1, value)
        for scheduler in (lived, refilled):
            del scheduler._brackets[0]._rungs[-1][1]["new"]


def test_a_resumed_trial_reports_in_its_own_rung_and_in_no_lower_one():
    scheduler = asha()
    scheduler.refill({0: [(1, 0.5), (3, 0.4)]})
    add(scheduler, "resumed")
    report(scheduler, "resumed", 9, 0.3)
    done = {"step": 20, "value": 0.1, "done": True}
    scheduler.on_trial_complete(None, trial("resumed"), done)
    rungs = {step: sorted(recorded) for step, recorded in scheduler._brackets[0]._rungs}
    assert rungs == {9: ["resumed"], 3: ["recorded-0"], 1: ["recorded-0"]}


def test_a_report_that_was_decided_on_is_not_decided_again():
    notes = Notes()
    notes.known.add(("t", 3))
    for scheduler in (asha(notes), NoStopping(notes)):
        add(scheduler, "t")
        assert report(scheduler, "t", 3, 99.0) == TrialScheduler.CONTINUE
    assert notes.decisions == []


def test_without_stopping_every_finite_report_goes_on():
    notes = Notes()
    scheduler = NoStopping(notes)
    assert [report(scheduler, "t", s, 10.0 * s) for s in RUNGS] == [TrialScheduler.CONTINUE] * 4
    assert [decision for *_, decision in notes.decisions] == ["continue"] * 4


def test_nothing_of_it_is_pickled():
    import pickle

    for scheduler in (asha(), NoStopping(Notes())):
        assert scheduler.__getstate__() == {}
        assert len(pickle.dumps(scheduler)) < 200


def test_tunes_own_records_a_late_value_in_a_low_rung():
    """The reason for `on_trial_complete`: if this fails, Tune has mended it."""
    from ray.tune.schedulers import ASHAScheduler

    scheduler = ASHAScheduler("step", "value", "min", max_t=20, grace_period=1, reduction_factor=3)
    scheduler.on_trial_add(None, trial("t"))
    for step, value in ((9, 0.3), (20, 0.1)):
        scheduler.on_trial_complete(None, trial("t"), {"step": step, "value": value})
        scheduler.on_trial_add(None, trial("t"))
    low = dict(scheduler._brackets[0]._rungs)[3]
    assert list(low.values()) == [-0.1]
