"""One trial against its ledger: whatever is lost, the same curve and every report once."""

import math

import pytest
import torch

from longhaul.ledger import Ledger
from longhaul.search.own_pack import OwnPack
from longhaul.search.trial_run import Report, TrialRun
from longhaul_trainers.training.pack import Pack
from longhaul_trainers.training.settings import TrialConfig

RUNGS = [4, 12, 20]
CONFIG = {
    "task": {"name": "copying", "delay": 5},
    "cell": {"name": "exprnn", "hidden_size": 8},
    "training": {
        "steps": 20,
        "batch_size": 4,
        "evaluate_every": 4,
        "validation_size": 10,
        "test_size": 10,
        "optimizer": {"name": "rmsprop", "learning_rate": 3e-3},
    },
    "seed": 11,
}


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def ledger(tmp_path):
    return Ledger.create(tmp_path, "s", "a: 1", {})


@pytest.fixture
def writer(ledger):
    with ledger.acquire() as writer:
        yield writer


def run(ledger, writer, heard=0, config=CONFIG, checkpoint_every_s=1e9):
    return TrialRun(
        ledger.trial(0),
        lambda checkpoint: OwnPack(config, "cpu", checkpoint),
        RUNGS,
        heard=heard,
        fence=writer.fence,
        checkpoint_every_s=checkpoint_every_s,
    )


def rows(folder):
    # a row of the ledger has every column, empty where a point has no such metric
    timed = ("time", "speed/steps_per_second")
    return [
        {key: value for key, value in row.items() if key not in timed and value is not None}
        for row in folder.history().to_pylist()
    ]


@pytest.fixture(scope="module")
def undisturbed():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    pack = Pack([TrialConfig.parse(CONFIG)])
    points = [point for (point,) in pack.train()]
    test = pack.test()[0]
    torch.set_num_threads(before)
    curve = [
        {"step": p.step} | {k: v for k, v in p.metrics.items() if k != "speed/steps_per_second"}
        for p in points
    ]
    return curve, test


def best_until(curve, step):
    return min(row["valid/loss"] for row in curve if row["step"] <= step)


def check_finished(ledger, undisturbed):
    curve, test = undisturbed
    folder = ledger.trial(0)
    assert rows(folder) == curve
    result = folder.result()
    assert result["valid/loss"] == best_until(curve, 20)
    assert {key: result[key] for key in test} == test
    assert folder.weights()


def test_it_reports_at_every_rung_and_the_ledger_has_it_before(ledger, writer, undisturbed):
    curve, _ = undisturbed
    trial = run(ledger, writer)
    for rung in RUNGS:
        report = trial.advance()
        assert report == Report(rung, best_until(curve, rung), done=rung == 20)
        assert rows(ledger.trial(0)) == [row for row in curve if row["step"] <= rung]
    check_finished(ledger, undisturbed)


@pytest.mark.parametrize("lost_after", [0, 1, 2])
def test_another_process_takes_it_up_from_its_checkpoint(ledger, writer, undisturbed, lost_after):
    first = run(ledger, writer)
    for _ in range(lost_after):
        first.advance()
    heard = ([0, *RUNGS])[lost_after]
    second = run(ledger, writer, heard=heard)
    remaining = [rung for rung in RUNGS if rung > heard]
    assert [second.advance().step for _ in remaining] == remaining
    check_finished(ledger, undisturbed)


def test_a_report_that_was_written_but_not_heard_is_said_without_training(
    ledger, writer, undisturbed, monkeypatch
):
    run(ledger, writer).advance()
    second = run(ledger, writer, heard=0)
    monkeypatch.setattr(Pack, "train", None)
    assert second.advance() == Report(4, best_until(undisturbed[0], 4))


def test_a_finished_trial_that_was_not_heard_of_is_said_without_training(
    ledger, writer, undisturbed, monkeypatch
):
    first = run(ledger, writer)
    for _ in RUNGS:
        first.advance()
    monkeypatch.setattr(Pack, "train", None)
    second = run(ledger, writer, heard=12)
    assert second.advance() == Report(20, best_until(undisturbed[0], 20), done=True)


class Lost(BaseException):
    """The process dies here."""


WRITES = ["append_history", "save_checkpoint", "write_weights", "write_result"]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("write", WRITES)
@pytest.mark.fault("trial", "death of a trial before or after each of its writes")
def test_dying_around_any_write_loses_and_doubles_nothing(
    ledger, writer, undisturbed, monkeypatch, write, after
):
    """Dies around the write once at each of its occurrences, and is taken up again each time."""
    heard = [0]
    deaths = 0
    for occurrence in range(4):
        trial = run(ledger, writer, heard=heard[-1])
        folder, left = trial._folder, [occurrence]
        real = getattr(folder, write)

        def dying(*args, real=real, left=left):
            if left[0] == 0:
                if after:
                    real(*args)
                raise Lost
            left[0] -= 1
            return real(*args)

        monkeypatch.setattr(folder, write, dying)
        try:
            while heard[-1] != 20:
                heard.append(trial.advance().step)
        except Lost:
            deaths += 1
    trial = run(ledger, writer, heard=heard[-1])
    while heard[-1] != 20:
        heard.append(trial.advance().step)
    assert deaths >= 1
    assert heard == [0, *RUNGS]
    check_finished(ledger, undisturbed)


def test_points_between_rungs_are_kept_by_timed_checkpoints(ledger, writer, undisturbed):
    trial = run(ledger, writer, heard=4, checkpoint_every_s=0)
    folder = trial._folder
    saved = []
    real = folder.save_checkpoint
    folder.save_checkpoint = lambda step, *rest: (saved.append(step), real(step, *rest))
    trial.advance()
    assert saved == [4, 8, 12]
    assert run(ledger, writer, heard=12).advance().step == 20
    check_finished(ledger, undisturbed)


@pytest.mark.fault("torn-checkpoint", "the newest checkpoint of a trial is cut short")
def test_a_damaged_newest_checkpoint_costs_some_steps_and_nothing_else(
    ledger, writer, undisturbed, tmp_path
):
    first = run(ledger, writer)
    first.advance()
    first.advance()
    newest = sorted((tmp_path / "s" / "trials" / "00000" / "checkpoint").iterdir())[-1]
    state = newest / "state.safetensors"
    state.write_bytes(state.read_bytes()[:-7])
    run(ledger, writer, heard=12).advance()
    check_finished(ledger, undisturbed)


@pytest.mark.fault("number", "a learning rate at which the loss overflows")
def test_divergence_ends_it_with_its_step_and_is_remembered(ledger, writer, monkeypatch):
    training = CONFIG["training"] | {"optimizer": {"name": "sgd", "learning_rate": 1e30}}
    config = CONFIG | {"cell": {"name": "rnn", "hidden_size": 8}, "training": training}
    report = run(ledger, writer, config=config).advance()
    assert report.done
    assert math.isinf(report.value)
    assert 1 < report.step < 20
    assert ledger.trial(0).result()["step"] == report.step
    assert rows(ledger.trial(0))[-1]["step"] == report.step
    monkeypatch.setattr(Pack, "train", None)
    assert run(ledger, writer, config=config).advance() == report


@pytest.mark.fault("two-drivers", "a trial goes on under a driver that was superseded")
def test_a_stale_owners_trial_writes_nothing(ledger, writer):
    from longhaul.ledger import StaleOwnerError

    trial = run(ledger, writer)
    ledger.acquire(force=True).close()
    with pytest.raises(StaleOwnerError):
        trial.advance()
    assert rows(ledger.trial(0)) == []
    assert ledger.trial(0).checkpoint_steps() == []
