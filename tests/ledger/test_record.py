import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longhaul.ledger import Event, EventKind, Fold, SearchState, TrialState

START = datetime(2026, 1, 1, tzinfo=UTC)


class Story:
    """Events of a made-up search, and their fold."""

    def __init__(self):
        self.events = []
        self.fold = Fold("s")

    def add(self, kind, trial=None, **data):
        number = len(self.events)
        event = Event(number, 1, START + timedelta(seconds=number), EventKind(kind), trial, data)
        self.events.append(event)
        self.fold.apply(event)
        return self

    def suggest(self, trial, steps=600):
        config = {"training": {"steps": steps}, "seed": 100 + trial}
        return self.add(
            "suggested", trial, params={"a": 1}, distributions={"a": "{}"}, config=config
        )

    def record(self, alive=True):
        return self.fold.snapshot(None, alive)


def test_the_life_of_a_trial():
    story = Story().add("opened", resumed=False).suggest(0)
    trial = story.record().trials[0]
    assert (trial.state, trial.seed, trial.max_steps, trial.params) == (
        "suggested",
        100,
        600,
        {"a": 1},
    )
    assert (trial.started, trial.value, trial.step, trial.reports) == (None, None, 0, ())

    story.add("started", 0, attempt=1, from_step=0, node="n1", pid=1)
    story.add("reported", 0, step=75, value=0.5, decision="continue")
    story.add("reported", 0, step=225, value=0.25, decision="stop")
    trial = story.record().trials[0]
    assert trial.state is TrialState.RUNNING
    assert trial.reports == ((75, 0.5), (225, 0.25))
    assert (trial.step, trial.value, trial.decision, trial.node) == (225, 0.25, "stop", "n1")
    assert trial.started == START + timedelta(seconds=2)
    assert story.record().steps_saved == 0

    story.add("stopped", 0, step=225, value=0.25)
    record = story.record()
    assert record.trials[0].state == "stopped"
    assert record.trials[0].ended == START + timedelta(seconds=5)
    assert (record.steps_trained, record.steps_saved) == (225, 375)
    assert record.best() is None


def test_a_retried_trial_repeats_no_report():
    story = Story().suggest(0).add("started", 0, attempt=1)
    story.add("reported", 0, step=75, value=0.5, decision="continue")
    story.add("started", 0, attempt=2, from_step=50)
    story.add("reported", 0, step=75, value=0.5, decision="continue")
    story.add("reported", 0, step=225, value=0.4, decision="continue")
    trial = story.record().trials[0]
    assert trial.reports == ((75, 0.5), (225, 0.4))
    assert trial.attempts == 2
    story.add("failed", 0, reason="boom", attempts=3)
    trial = story.record().trials[0]
    assert (trial.state, trial.reason, trial.attempts) == ("failed", "boom", 3)
    assert trial.started == START + timedelta(seconds=1)


def test_the_best_is_completed_finite_lowest_and_earliest():
    story = Story()
    for number, (kind, value) in enumerate(
        [
            ("finished", math.nan),
            ("stopped", 0.01),
            ("finished", 0.5),
            ("finished", 0.3),
            ("finished", 0.3),
            ("diverged", 0.001),
            ("finished", -math.inf),
        ]
    ):
        story.suggest(number).add("started", number, attempt=1).add(
            kind, number, step=600, value=value
        )
    assert story.record().best().number == 3
    assert story.record().counts() == {
        "suggested": 0,
        "running": 0,
        "completed": 5,
        "stopped": 1,
        "diverged": 1,
        "failed": 0,
    }
    story.add("started", 3, attempt=2)  # trained further: not best while it runs
    assert story.record().best().number == 4
    story.add("finished", 3, step=900, value=0.2)
    assert story.record().best().number == 3


def test_states_of_a_search():
    story = Story()
    assert story.record(alive=False).state is SearchState.INTERRUPTED
    story.add("opened", resumed=False)
    assert story.record(alive=True).state is SearchState.RUNNING
    assert story.record(alive=False).state is SearchState.INTERRUPTED
    story.add("interrupted", reason="SIGINT")
    record = story.record(alive=False)
    assert (record.state, record.reason, record.ended) == (
        "interrupted",
        "SIGINT",
        START + timedelta(seconds=1),
    )
    story.add("opened", resumed=True)
    record = story.record()
    assert (record.state, record.reason, record.ended, record.started) == (
        "running",
        None,
        None,
        START,
    )
    story.add("closed", reason="all trials are through")
    assert story.record(alive=False).state is SearchState.COMPLETED
    story.add("opened", resumed=True).add("closed", reason="8 trials failed", state="failed")
    assert story.record(alive=False).state is SearchState.FAILED


def test_a_snapshot_stays_as_it_is():
    story = Story().add("opened").suggest(0)
    before = story.record()
    story.suggest(1).add("started", 0, attempt=1).add("reported", 0, step=10, value=1.0)
    assert list(before.trials) == [0]
    assert before.trials[0].state == "suggested"
    assert before.counts()["suggested"] == 1
    assert before.steps_trained == 0
    assert before.last_event == 1


def test_events_of_which_a_part_is_missing_are_taken_as_they_are():
    story = Story().add("reported", 4, step=75, value=0.5).add("finished", 5).add("reported", 6)
    record = story.record()
    assert record.trials[4].reports == ((75, 0.5),)
    assert record.trials[5].state == "completed"
    assert record.best() is None


ACTIONS = st.tuples(
    st.sampled_from(
        ["suggested", "started", "reported", "stopped", "diverged", "failed", "finished"]
    ),
    st.integers(0, 3),
    st.integers(0, 700),
    st.floats() | st.none(),
)


@settings(max_examples=200)
@given(st.lists(ACTIONS, max_size=40))
def test_what_is_kept_up_to_date_equals_what_is_counted_afresh(actions):
    story = Story()
    for kind, trial, step, value in actions:
        if kind == "suggested":
            story.suggest(trial)
        else:
            story.add(kind, trial, step=step, value=value)
        record = story.record()
        trials = record.trials.values()
        assert record.steps_trained == sum(one.step for one in trials)
        assert record.steps_saved == sum(
            max(0, one.max_steps - one.step)
            for one in trials
            if one.state in ("stopped", "diverged") and one.max_steps
        )
        for state, count in record.counts().items():
            assert count == sum(one.state == state for one in trials)
        candidates = [
            (one.value, one.number)
            for one in trials
            if one.state == "completed" and one.value is not None and math.isfinite(one.value)
        ]
        best = record.best()
        assert (best and best.number) == (min(candidates)[1] if candidates else None)
    # Applying events again changes nothing.
    for event in story.events:
        story.fold.apply(event)
    assert repr(story.record()) == repr(record) if actions else True


def test_a_ledger_reads_only_what_is_new(ledger, monkeypatch):
    with ledger.acquire(heartbeat_s=1000) as writer:
        writer.append("opened", resumed=False)
        for number in range(5):
            writer.append("suggested", number, config={"seed": number})
        first = ledger.record()
        assert first.state == "running"
        assert first.owner == writer.lease.owner
        opened = []
        real = type(ledger.storage).read
        monkeypatch.setattr(
            type(ledger.storage), "read", lambda self, path: opened.append(path) or real(self, path)
        )
        writer.append("started", 0, attempt=1)
        second = ledger.record()
        assert len([path for path in opened if path.startswith("events")]) == 1
        assert second.trials[0].state == "running"
        assert first.trials[0].state == "suggested"
    assert ledger.record().state == "interrupted"


@pytest.mark.parametrize("alive", [True, False])
def test_a_closed_search_is_not_running_whoever_holds_it(ledger, alive):
    with ledger.acquire(heartbeat_s=1000) as writer:
        writer.append("opened")
        writer.append("closed", reason="through")
        if alive:
            assert ledger.record().state == "completed"
    assert ledger.record().state == "completed"
