"""Which host each trial goes to, how many there are, and that a trial's own process is light."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from longhaul.errors import RequestError
from longhaul.search import fleet
from longhaul.search.seats import Seats, structure_of
from longhaul.spec.search_spec import SearchSpec

SPACE = "task: copying\ncell: lstm\n"


def test_equal_trials_come_together_and_others_begin_where_there_is_most_room():
    seats = Seats(hosts=2, slots=3)
    structures = ["lstm", "lstm", "gru", "lstm", "gru", "gru"]
    assert [seats.take(str(n), one) for n, one in enumerate(structures)] == [0, 0, 1, 0, 1, 1]


def test_a_seat_that_was_left_is_given_to_the_next():
    seats = Seats(hosts=2, slots=1)
    assert [seats.take(name, "x") for name in "ab"] == [0, 1]
    seats.leave("b")
    seats.leave("b")
    assert seats.take("c", "y") == 1


def test_a_full_host_takes_no_more_while_another_has_room():
    seats = Seats(hosts=2, slots=2)
    assert [seats.take(name, "x") for name in "abcd"] == [0, 0, 1, 1]
    assert seats.take("e", "x") in (0, 1)


def test_only_what_is_structural_tells_structures_apart():
    plain = {"task": "copying", "cell": {"name": "lstm", "hidden_size": 8}}
    rate = {"optimizer": {"name": "adam", "learning_rate": 0.1}}
    assert structure_of(plain | {"seed": 3}) == structure_of(plain)
    assert structure_of(plain | {"training": rate}) == structure_of(
        plain | {"training": {"optimizer": "adam"}}
    )
    assert structure_of(plain | {"cell": {"name": "lstm", "hidden_size": 9}}) != structure_of(plain)
    assert structure_of(plain | {"cell": "none of ours"}) == structure_of({})


@pytest.fixture
def planned(monkeypatch):
    def plan(available, parallel=None, remaining=100, **resources):
        monkeypatch.setattr("ray.cluster_resources", lambda: {"memory": 1e12} | available)
        changes = [f"resources.{key}={value}" for key, value in resources.items()]
        spec = SearchSpec.from_text(SPACE, "space.yaml", changes)
        found = fleet.plan(spec, parallel, remaining, 1, "cpu")
        return found.parallel, found.hosts, found.slots

    return plan


@pytest.mark.parametrize(
    ("cpus", "parallel", "remaining", "slots", "expected"),
    [
        (4, None, 100, 1, (4, 0, 1)),
        (4, 9, 100, 1, (9, 0, 1)),
        (4, None, 3, 1, (3, 0, 1)),
        (4, None, 100, 8, (32, 4, 8)),
        (4, 12, 100, 8, (12, 2, 8)),
        (4, 99, 100, 8, (32, 4, 8)),
        (4, None, 5, 8, (5, 1, 8)),
        (4, None, 100, "auto", (4, 0, 1)),
    ],
)
def test_how_many_run_at_once(planned, cpus, parallel, remaining, slots, expected):
    assert planned({"CPU": cpus}, parallel, remaining, slots=slots) == expected


def test_no_more_trials_than_there_is_memory_for(planned):
    assert planned({"CPU": 4, "memory": 3.5 * fleet.LIGHT_BYTES}, slots=8) == (3, 4, 8)


def test_resources_that_do_not_exist_are_refused(planned):
    with pytest.raises(RequestError, match=r"resources\.gpus"):
        planned({"CPU": 4}, gpus=1, slots=8)


def test_on_an_accelerator_the_slots_are_measured_once(planned, monkeypatch):
    monkeypatch.setattr(fleet, "_slots", lambda spec, limit: min(16, limit))
    assert planned({"CPU": 16, "GPU": 2}, gpus=1, slots="auto") == (32, 2, 16)
    assert planned({"CPU": 16, "GPU": 2}, remaining=3, gpus=1, slots="auto") == (3, 1, 3)


def test_a_hosted_trials_process_needs_no_torch():
    program = (
        "import sys, longhaul.search.trainable, longhaul.search.host_actor\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-P", "-c", program], check=True)


def test_the_searcher_seats_a_trial_and_frees_its_seat():
    from longhaul.search.searcher import LedgerSearcher

    ended = []
    trials = iter([{"number": n, "config": {}, "heard": 0} for n in range(3)])
    run = SimpleNamespace(
        next_trial=lambda _: next(trials, None),
        waiting=False,
        full=False,
        live=0,
        heed_requests=lambda: None,
        ended=lambda *_, error: ended.append(error),
    )
    searcher = LedgerSearcher(run, Seats(hosts=2, slots=1))
    assert [searcher.suggest(name)["host"] for name in "ab"] == [0, 1]
    searcher.on_trial_complete("a", None, error=True)
    assert searcher.suggest("c")["host"] == 0
    assert searcher.suggest("d") == "FINISHED"
    run.waiting = True
    assert searcher.suggest("d") is None
    assert ended == [True]
