"""A pack host by direct calls, without Ray: what trials in it write is what they write alone."""

import threading
import time
from functools import partial
from types import SimpleNamespace

import pytest
import torch

from longhaul.ledger import Ledger
from longhaul.search import hosted_training, pack_host
from longhaul.search.hosted_training import HostedTraining, HostedTrialError, PackHostDiedError
from longhaul.search.own_pack import OwnPack
from longhaul.search.pack_host import PackHost
from longhaul.search.trial_run import TrialRun
from longhaul_trainers.training.pack import Pack

RUNGS = [4, 8, 14]


def config(seed, cell="lstm", rate=3e-3):
    return {
        "task": {"name": "copying", "delay": 5},
        "cell": {"name": cell, "hidden_size": 6},
        "training": {
            "steps": 14,
            "batch_size": 3,
            "evaluate_every": 4,
            "validation_size": 8,
            "test_size": 8,
            "optimizer": {"name": "sgd", "learning_rate": rate},
        },
        "seed": seed,
    }


CONFIGS = {n: config(n, "gru" if n % 3 == 0 else "lstm") for n in range(6)}


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=[1, 2])
def host(monkeypatch, request):
    """A host of so many threads as if it were an actor: its answers are there at once."""
    monkeypatch.setattr(hosted_training, "_answer", lambda answer, patience: answer)
    direct = PackHost("cpu", request.param)
    methods = ("take_on", "news", "environment")
    handle = {name: SimpleNamespace(remote=getattr(direct, name)) for name in methods}
    return SimpleNamespace(direct=direct, **handle)


@pytest.fixture
def search(tmp_path):
    """Ledger and fencing number."""
    ledger = Ledger.create(tmp_path, "s", "a: 1", {})
    with ledger.acquire() as writer:
        yield ledger, writer.fence


def run_all(search, begin, configs, rungs=RUNGS):
    """Trains all configurations at once, each in a thread; what each of them raised."""
    ledger, fence = search
    errors = {}

    def run(number):
        trial = TrialRun(
            ledger.trial(number),
            lambda checkpoint: begin(number, configs[number], checkpoint),
            rungs,
            heard=0,
            fence=fence,
            checkpoint_every_s=0,
        )
        try:
            while not trial.advance().done:
                pass
        except Exception as error:
            errors[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in configs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    return errors


def written(ledger, number):
    """All that a trial leaves, but the times."""
    folder = ledger.trial(number)
    timed = ("time", "speed/steps_per_second")
    rows = [
        {k: v for k, v in row.items() if k not in timed and v is not None}
        for row in folder.history().to_pylist()
    ]
    return repr(rows), folder.result(), folder.weights(), folder.load_checkpoint()


@pytest.fixture
def expected(tmp_path_factory):
    """What trials write that train by themselves."""

    def of(configs):
        ledger = Ledger.create(tmp_path_factory.mktemp("alone"), "s", "a: 1", {})
        with ledger.acquire() as writer:
            for number in configs:
                assert not run_all((ledger, writer.fence), by_itself, {number: configs[number]})
        return {number: written(ledger, number) for number in configs}

    return of


def by_itself(number, one, checkpoint):
    return OwnPack(one, "cpu", checkpoint)


def hosted(host):
    return lambda number, one, checkpoint: HostedTraining(host, number, one, checkpoint)


def test_what_is_written_of_a_trial_is_the_same_alone_and_hosted(host, search, expected):
    assert run_all(search, hosted(host), CONFIGS) == {}
    assert {n: written(search[0], n) for n in CONFIGS} == expected(CONFIGS)
    assert search[0].trial(0).result()["step"] == 14


@pytest.mark.fault("number", "one trial of a pack diverges")
def test_a_trial_that_diverges_ends_as_such_and_its_neighbours_go_on(host, search, expected):
    configs = {n: config(n, "rnn", rate) for n, rate in enumerate([1e-2, 1e30, 1e-2])}
    assert run_all(search, hosted(host), configs) == {}
    assert {n: written(search[0], n) for n in configs} == expected(configs)
    assert search[0].trial(1).result()["diverged"]


def test_a_trial_that_raises_fails_alone_and_the_others_lose_nothing(
    host, search, expected, monkeypatch
):
    healthy = {n: one for n, one in CONFIGS.items() if n != 4}
    wanted = expected(healthy)
    train_step = Pack.train_step

    def fragile(pack):
        if any(t.seed == 4 and s >= 6 for t, s in zip(pack.trials, pack.steps_done, strict=True)):
            raise RuntimeError("seed 4 cannot go on")
        train_step(pack)

    monkeypatch.setattr(Pack, "train_step", fragile)
    errors = run_all(search, hosted(host), CONFIGS)
    assert list(errors) == [4]
    assert isinstance(errors[4], HostedTrialError)
    assert str(errors[4]).strip().splitlines()[-1] == "RuntimeError: seed 4 cannot go on"
    assert {n: written(search[0], n) for n in healthy} == wanted


def test_a_trial_that_was_given_up_for_dead_hands_itself_in_again(
    host, search, expected, monkeypatch
):
    configs = {n: CONFIGS[n] for n in (1, 2)}
    told = host.news.remote
    forgotten = []

    def forgetful(ticket, patience_s):
        if len(forgotten) < 5:
            forgotten.append(ticket)
            monkeypatch.setattr(pack_host, "LEASE_S", -1.0)
            host.direct._drop_the_dead()
            monkeypatch.setattr(pack_host, "LEASE_S", 60.0)
        return told(ticket, patience_s)

    monkeypatch.setattr(host, "news", SimpleNamespace(remote=forgetful))
    assert run_all(search, hosted(host), configs) == {}
    assert len(forgotten) == 5
    assert {n: written(search[0], n) for n in configs} == expected(configs)


def test_a_trial_that_is_handed_in_again_takes_the_place_of_its_former_self(host):
    one = config(0) | {"training": config(0)["training"] | {"steps": 10**6}}
    first = host.direct.take_on(0, one, 10**6, None, 1e9)
    assert host.direct.news(first, 60)
    second = host.direct.take_on(0, one, 8, None, 1e9)
    assert host.direct.news(first, 0) is None
    told = []
    while not (told and told[-1].over):
        told += host.direct.news(second, 60)
    assert [news.point.step for news in told] == [4, 8]
    assert told[-1].outcome is None
    deadline = time.monotonic() + 30
    while host.direct.busy() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not host.direct.busy()


def test_a_damaged_checkpoint_is_an_error_of_its_trial_alone(host, search):
    with pytest.raises(ValueError, match="checkpoint"):
        host.direct.take_on(0, config(0), 8, {"state.json": b"{}"}, 1e9)
    other = OwnPack(config(1), "cpu", None)
    (*_, (_, checkpoint)) = other.train(4, 1e9)
    ticket = host.direct.take_on(0, config(0), 8, checkpoint, 1e9)
    (news,) = host.direct.news(ticket, 60)
    assert "another configuration" in news.error
    assert run_all(search, hosted(host), {2: CONFIGS[2]}) == {}


class Restarted:
    """A host that is started again, as by Ray, some time after it has ended itself."""

    def __init__(self, threads, deadline_s):
        self._settings = ("cpu", threads, deadline_s)
        self.direct = PackHost(*self._settings)
        self.deaths = 0
        for name in ("take_on", "news", "environment"):
            setattr(self, name, SimpleNamespace(remote=partial(self._call, name)))

    def _call(self, name, *args):
        if self.direct is None:
            raise PackHostDiedError("it is not there")
        return getattr(self.direct, name)(*args)

    def end(self):
        self.direct, self.deaths = None, self.deaths + 1
        threading.Timer(0.3, self._begin).start()

    def _begin(self):
        self.direct = PackHost(*self._settings)


@pytest.mark.fault("hang", "a trial hangs in a pack, beside neighbours that share its thread")
def test_a_trial_that_hangs_fails_alone_and_the_others_lose_nothing(search, expected, monkeypatch):
    configs = {n: CONFIGS[n] for n in (1, 2, 3, 4)}
    wanted = expected({n: one for n, one in configs.items() if n != 4})
    monkeypatch.setattr(hosted_training, "_answer", lambda answer, *_: answer)
    host = Restarted(threads=1, deadline_s=2.0)
    monkeypatch.setattr(pack_host, "LAST_WORDS_S", 0.5)
    monkeypatch.setattr(pack_host, "_end_process", host.end)
    train_step, over = Pack.train_step, threading.Event()

    def hanging(pack):
        if any(t.seed == 4 and s >= 6 for t, s in zip(pack.trials, pack.steps_done, strict=True)):
            over.wait(120)
        train_step(pack)

    monkeypatch.setattr(Pack, "train_step", hanging)
    try:
        errors = run_all(search, hosted(host), configs)
    finally:
        over.set()
    assert list(errors) == [4]
    assert "no point of its curve for 2 s" in str(errors[4])
    assert host.deaths >= 1
    assert {n: written(search[0], n) for n in wanted} == wanted


def test_a_host_that_dies_without_end_fails_its_trials(search, monkeypatch):
    monkeypatch.setattr(hosted_training, "_answer", lambda answer, *_: answer)
    host = Restarted(threads=1, deadline_s=None)
    host.take_on = SimpleNamespace(remote=lambda *_: host.end() or host._call("take_on"))
    errors = run_all(search, hosted(host), {1: CONFIGS[1]})
    assert isinstance(errors[1], PackHostDiedError)
    assert host.deaths == hosted_training.HOST_DEATHS


def test_a_trial_that_begins_waits_until_its_host_is_started_again(monkeypatch):
    # Each answer of a dead host would cost the trial one of its attempts.
    answers = iter([PackHostDiedError("dead"), PackHostDiedError("dead"), {"torch": "2"}])

    def answer(*_):
        told = next(answers)
        if isinstance(told, Exception):
            raise told
        return told

    monkeypatch.setattr(hosted_training, "_answer", answer)
    monkeypatch.setattr(hosted_training.time, "sleep", lambda _: None)
    host = SimpleNamespace(environment=SimpleNamespace(remote=lambda: None))
    assert hosted_training.describe_host(host) == {"torch": "2"}


def test_a_trial_does_not_wait_for_ever_for_a_host_that_is_gone(monkeypatch):
    def dead(*_):
        raise PackHostDiedError("dead")

    monkeypatch.setattr(hosted_training, "_answer", dead)
    monkeypatch.setattr(hosted_training, "RESTART_S", 0.0)
    host = SimpleNamespace(environment=SimpleNamespace(remote=lambda: None))
    with pytest.raises(PackHostDiedError):
        hosted_training.describe_host(host)
