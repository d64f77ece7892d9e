"""When a search that stands still says so."""

import socket

import pytest

from longhaul.search.standstill import LOOK_EVERY_S, SILENCE_S, STANDSTILL_S, Silence, Standstill


@pytest.fixture
def clock():
    now = [0.0]
    return now


@pytest.fixture
def watch(clock):
    return Standstill(lambda: clock[0])


def test_nothing_is_said_while_something_runs_or_nothing_waits(watch, clock):
    watch.waits("a")
    watch.runs("a")
    watch.waits("b")
    clock[0] = 10 * STANDSTILL_S
    assert watch.told() is None
    watch.over("a")
    watch.over("b")
    clock[0] *= 2
    assert watch.told() is None


@pytest.mark.fault("partition", "all nodes gone: what the user is told")
def test_a_standstill_is_told_once_and_the_next_one_again(watch, clock):
    for _ in range(2):
        watch.runs("a")
        watch.runs("b")
        watch.waits("a")
        watch.waits("b")
        clock[0] += STANDSTILL_S - 1
        assert watch.told() is None
        clock[0] += 2
        assert "2 wait for a place" in watch.told()
        assert watch.told() is None


def test_a_trial_that_only_waits_longer_begins_no_new_standstill(watch, clock):
    watch.waits("a")
    clock[0] += STANDSTILL_S / 2
    watch.waits("b")
    clock[0] += STANDSTILL_S / 2
    assert watch.told() is not None


def test_the_searcher_and_its_callback_tell_of_every_turn(watch):
    from types import SimpleNamespace

    from longhaul.search.searcher import LedgerSearcher, StartedTrials

    handed = iter([{"number": 0, "config": {}, "heard": 0}, None])
    run = SimpleNamespace(
        heed_requests=lambda: None,
        full=False,
        live=0,
        stop_reason=None,
        next_trial=lambda _: next(handed),
        waiting=False,
        ended=lambda *_, error: None,
        started=lambda *_: None,
    )
    searcher, callback = LedgerSearcher(run, standstill=watch), StartedTrials(run, watch)
    trial = SimpleNamespace(trial_id="a", node_ip="", config={})
    searcher.suggest("a")
    assert watch._waiting == {"a"}
    callback.on_trial_start(0, [], trial)
    assert (watch._waiting, watch._running) == (set(), {"a"})
    callback.on_trial_recover(0, [], trial)
    assert (watch._waiting, watch._running) == ({"a"}, set())
    searcher.on_trial_complete("a")
    searcher.suggest("b")
    assert watch._waiting == set()


@pytest.mark.fault("gcs", "the control store does not answer: what the user is told")
def test_a_cluster_that_is_gone_is_told_once_with_the_command_that_resumes(clock):
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    watch = Silence("mine", f"127.0.0.1:{port}", lambda: clock[0])

    def wait(seconds):
        said = []
        for _ in range(int(seconds / LOOK_EVERY_S) + 1):
            clock[0] += LOOK_EVERY_S
            said.append(watch.told())
        return [words for words in said if words is not None]

    assert wait(3 * SILENCE_S) == []
    server.close()
    (words,) = wait(3 * SILENCE_S)
    assert "longhaul resume mine" in words
    with socket.create_server(("127.0.0.1", port)):
        assert wait(SILENCE_S) == []
    assert len(wait(2 * SILENCE_S)) == 1
