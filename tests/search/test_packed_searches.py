"""Whole searches whose trials train in packs, with real Ray; killed in every place."""

import time
from collections import Counter
from pathlib import Path

import pytest

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]

RUNGS = [5, 15, 45]
PATIENCE_S = 240.0
SLOW = {"name": "slow_lstm", "hidden_size": 8, "wait_s": 0.05}
"""Slow enough that a busy machine still has trials to kill when it comes to it."""
SLOTS = {"slots": 4}
BOTH_CELLS = [{"cell": "slow_lstm"}, {"cell": "exprnn"}] * 2
"""The first points of a search over two cells: what is left to chance may leave out one."""


class Packed:
    """A search in packs, and what must be true of it in the end."""

    def __init__(self, project, name, trials, enqueue=(), **sections):
        search = {"trials": trials, "seed": 3, "scheduler": {"name": "asha", "grace_steps": 5}}
        if enqueue:
            search["enqueue"] = list(enqueue)
        self.space = project.space(name, search=search, resources=SLOTS, **sections)
        self.project, self.name, self.trials = project, name, trials
        self.seen = {}

    def ledger(self):
        return self.project.ledger(self.name)

    def rows(self):
        ledger = self.ledger()
        histories = {n: ledger.trial(n).history().to_pylist() for n in ledger.trial_numbers()}
        return {(n, row["step"]): row for n, rows in histories.items() for row in rows}

    def look(self):
        """Keeps what a reader sees, times included: it must still be there in the end."""
        self.seen |= {key: without_gaps(row) for key, row in self.rows().items()}

    def await_rows(self, driver, more=4):
        """Until the ledger has so many points more; light processes leave no other trace."""
        wanted = None
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            if (self.project.storage / self.name / "trials").exists():
                rows = len(self.rows())
                wanted = rows + more if wanted is None else wanted
                if rows >= wanted:
                    return
            assert driver.running, driver.stderr
            time.sleep(0.05)
        raise AssertionError(f"no rows in {PATIENCE_S} s\n{driver.stderr}")

    def check_whole(self, expected_history, recorded_history):
        """As if nothing had happened, and as if each trial had been alone."""
        ledger = self.ledger()
        record, events = ledger.record(), ledger.events()
        assert record.state == "completed"
        assert sorted(record.trials) == list(range(self.trials))
        assert set(record.counts()) >= {"completed", "stopped"}
        assert record.counts()["completed"] + record.counts()["stopped"] == self.trials
        kinds = Counter((event.trial, event.kind) for event in events)
        for number, trial in record.trials.items():
            assert kinds[number, "suggested"] == 1
            assert kinds[number, "finished"] + kinds[number, "stopped"] == 1
            steps = [e.data["step"] for e in events if (e.trial, e.kind) == (number, "reported")]
            assert steps == RUNGS[: len(steps)]
            recorded = recorded_history(ledger, number)
            assert recorded == expected_history(trial.config, steps), number
            if trial.state == "completed":
                assert ledger.trial(number).result()["valid/loss"] == trial.value
                assert ledger.trial(number).weights()
        rows = self.rows()
        assert {key: without_gaps(rows[key]) for key in self.seen} == self.seen
        self.project.check_nothing_is_lost(self.name)


def without_gaps(row):
    return {key: value for key, value in row.items() if value is not None}


HOST = ("ray::PackHostActor",)
TRIAL = ("ray::CellTrial", "ray::ResourceTrainable")  # idle, and at work
TRAINING = ("ray::ResourceTrainable.train",)


def processes(driver, titles):
    """Those of the driver that have one of these titles now."""
    return [one for one in driver.look() if one.alive and title_of(one.pid).startswith(titles)]


def awaited(driver, titles):
    """The first of them, as soon as there is one."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        for one in processes(driver, titles):
            return one
        time.sleep(0.02)
    raise AssertionError(f"none of {titles} in {PATIENCE_S} s")


def title_of(pid):
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


def loads_torch(pid):
    return "libtorch" in Path(f"/proc/{pid}/maps").read_text()


@pytest.fixture(scope="module")
def mixed(new_project):
    """One search over two cells in packs, looked at while it ran."""
    project = new_project()
    cells = [
        {"name": "slow_lstm", "hidden_size": 8, "forget_bias": {"uniform": [0, 3]}},
        {"name": "exprnn", "hidden_size": 8, "learning_rate_ratio": {"loguniform": [0.01, 1]}},
    ]
    packed = Packed(project, "mixed", 8, BOTH_CELLS, cell={"choice": cells})
    driver = project.start("search", packed.space, "--json", "--parallel", "6")
    packed.await_rows(driver, more=1)
    with project.held():
        hosts = [loads_torch(one.pid) for one in processes(driver, HOST)]
        trials = [loads_torch(one.pid) for one in processes(driver, TRIAL)]
    assert driver.wait() == 0, driver.stderr
    return packed, driver, hosts, trials


def test_trials_of_several_cells_have_the_curves_they_have_alone(
    mixed, expected_history, recorded_history
):
    packed, driver, _, _ = mixed
    packed.check_whole(expected_history, recorded_history)
    record = packed.ledger().record()
    assert {one.config["cell"]["name"] for one in record.trials.values()} == {
        "slow_lstm",
        "exprnn",
    }
    assert {one.attempts for one in record.trials.values()} == {1}
    assert driver.json()["state"] == "completed"


def test_only_the_hosts_hold_torch(mixed):
    _, _, hosts, trials = mixed
    assert hosts == [True] * len(hosts)
    assert 1 <= len(hosts) <= 2  # six trials at once, four to a host
    assert trials
    assert not any(trials)


def test_mlflow_has_what_the_ledger_has(mixed, content_of, equals_ledger):
    packed, *_ = mixed
    equals_ledger(content_of(packed.project.tracking_uri), packed.ledger())


def test_a_search_in_packs_is_the_same_search_as_without(mixed, recorded_history):
    packed, _, _, _ = mixed
    project = packed.project
    text = (project.folder / packed.space).read_text()
    (project.folder / "single.yaml").write_text(text)
    words = ("search", "single.yaml", "--json", "--set", "resources.slots=1")
    single = project.run(*words, "--tracking-uri", project.new_tracking_uri("single"))
    assert single.popen.returncode == 0, single.stderr
    one, other = packed.ledger(), project.ledger("single")
    both = []
    for number, trial in one.record().trials.items():
        again = other.record().trials[number]
        if trial.config != again.config:
            continue  # what a sampler suggests depends on which trials had ended by then
        curves = recorded_history(one, number), recorded_history(other, number)
        steps = curves[0].keys() & curves[1].keys()
        assert {s: curves[0][s] for s in steps} == {s: curves[1][s] for s in steps}
        assert (
            one.trial(number).environment()["fingerprint"]
            == (other.trial(number).environment()["fingerprint"])
        )
        both.append(number)
    assert len(both) >= 2


def test_a_packed_trial_can_be_reproduced_alone(mixed):
    packed, *_ = mixed
    again = packed.project.run("reproduce", packed.name, "--json")
    assert again.popen.returncode == 0, again.stderr
    assert again.json()["verdict"] == "identical"


@pytest.mark.fault("host", "SIGKILL of a trial's process, then of all pack hosts")
def test_a_killed_trial_process_and_a_killed_host_cost_some_steps_and_nothing_else(
    new_project, expected_history, recorded_history
):
    project = new_project()
    cell = SLOW | {"forget_bias": {"uniform": [0, 3]}}
    packed = Packed(project, "wreck", 12, cell=cell)  # most are still to come when it is broken
    driver = project.start("search", packed.space, "--json", "--set", "search.retries=2")
    packed.await_rows(driver)
    with project.held():
        packed.look()
        awaited(driver, TRAINING).kill()
    packed.await_rows(driver, more=2)
    with project.held():
        packed.look()
        hosts = processes(driver, HOST)
        assert hosts
        for host in hosts:
            host.kill()
    assert driver.wait() == 0, driver.stderr
    packed.check_whole(expected_history, recorded_history)
    attempts = [one.attempts for one in packed.ledger().record().trials.values()]
    assert max(attempts) > 1
    assert "Traceback" not in driver.stderr


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.fault("driver", "SIGKILL of a driver whose trials train in packs, three times")
def test_a_search_in_packs_survives_deaths_of_its_driver(
    new_project, expected_history, recorded_history, content_of, equals_ledger
):
    project = new_project()
    cells = [SLOW | {"forget_bias": {"uniform": [0, 3]}}]
    cells += [{"name": "exprnn", "hidden_size": 8, "learning_rate_ratio": {"uniform": [0.1, 1]}}]
    packed = Packed(project, "deaths", 12, BOTH_CELLS, cell={"choice": cells})
    words = [("search", packed.space), ("resume", packed.name)]
    for life in range(3):
        driver = project.start(*words[life % 2])
        packed.await_rows(driver, more=2)
        driver.kill()
        survivors = driver.survivors()
        driver.end()
        assert survivors == []
        packed.project.check_nothing_is_lost(packed.name)
    last = project.run("resume", packed.name, "--json")
    assert last.popen.returncode == 0, last.stderr
    packed.check_whole(expected_history, recorded_history)
    equals_ledger(content_of(project.tracking_uri), packed.ledger())
