"""Trials that come and go in a pack have the bits that they have alone."""

import random

import pytest
import torch

from longhaul_trainers.training.continuous_pack import ContinuousPack, Stretch
from longhaul_trainers.training.pack import Pack
from longhaul_trainers.training.settings import TrialConfig
from longhaul_trainers.training.slot_state import SlotState

STEPS = 14
RUNGS = (3, 7, STEPS)


def config(seed: int, cell: str = "lstm", rate: float = 3e-3, **training) -> TrialConfig:
    return TrialConfig.parse(
        {
            "task": {"name": "copying", "delay": 5},
            "cell": {"name": cell, "hidden_size": 6},
            "training": {
                "steps": STEPS,
                "batch_size": 3,
                "evaluate_every": 4,
                "diagnose_every": 5,
                "validation_size": 8,
                "test_size": 8,
                "optimizer": {"name": "adam", "learning_rate": rate},
                **training,
            },
            "seed": seed,
        }
    )


def untimed(point):
    metrics = {k: v for k, v in point.metrics.items() if k != "speed/steps_per_second"}
    return point.step, metrics


def alone(trial, rungs=RUNGS):
    """Curve, test loss and state in the end of a trial in a pack of one."""
    pack = Pack([trial])
    curve = [untimed(point) for rung in rungs for (point,) in pack.train(rung)]
    return curve, pack.test()[0], pack.checkpoint()


class Host:
    """Hands a queue of trials to a pack, rung by rung, as a search would."""

    def __init__(self, slots, spare=0.0, by_bytes=True):
        self.pack = ContinuousPack("cpu", spare)
        self.slots, self.by_bytes = slots, by_bytes
        self.curves, self.ends = {}, {}
        self.trials, self.largest = {}, 0

    def run(self, trials, until=lambda name: STEPS, delays=None):
        """Trains all; a trial that has reached its rung waits for some steps before it goes on."""
        waiting = [(name, None, 0) for name in trials]
        self.trials |= trials
        steps = 0
        while waiting or self.pack.stretches:
            steps += 1
            for entry in list(waiting):
                name, state, since = entry
                if since <= steps and len(self.pack.stretches) < self.slots:
                    waiting.remove(entry)
                    done = state.step if state else 0
                    rung = next(rung for rung in RUNGS if rung > done)
                    self.pack.admit(name, Stretch(trials[name], rung, state))
            for told in self.pack.step():
                self.curves.setdefault(told.key, []).append(untimed(told.point))
                if not told.over:
                    continue
                state = told.state
                if state.divergence or state.step >= until(told.key):
                    self.ends[told.key] = state
                    continue
                if self.by_bytes:
                    state = SlotState.from_checkpoint(state.checkpoint())
                waiting.append((told.key, state, steps + (delays() if delays else 0)))
            self.largest = max(self.largest, len(self.pack._slots))
            assert steps < 1000
        return self

    def check(self, stopped=()):
        for name, trial in self.trials.items():
            rungs = [rung for rung in RUNGS if rung <= self.ends[name].step]
            curve, tested, checkpoint = alone(trial, rungs)
            assert self.curves[name] == curve, name
            assert self.ends[name].checkpoint() == checkpoint, name
            if name not in stopped:
                assert self.pack.test(self.ends[name]) == tested


@pytest.mark.parametrize("slots", [1, 4, 16])
@pytest.mark.parametrize("spare", [0.0, 0.5])
def test_trials_that_come_and_go_at_different_steps_have_their_own_bits(slots, spare):
    chance = random.Random(slots)
    trials = {seed: config(seed, rate=10 ** chance.uniform(-4, -1)) for seed in range(18)}
    stop_at = {name: chance.choice(RUNGS) for name in trials}
    host = Host(slots, spare).run(trials, stop_at.get, lambda: chance.randint(0, 3))
    assert host.largest == slots
    host.check(stopped=[name for name, step in stop_at.items() if step < STEPS])


@pytest.mark.parametrize("cell", ["exprnn", "gru", "dtriv", "indrnn", "urnn", "scornn", "lru"])
def test_it_holds_for_cells_that_clamp_rebase_or_normalise(cell):
    chance = random.Random(cell)
    trials = {seed: config(seed, cell) for seed in range(5)}
    Host(3).run(trials, delays=lambda: chance.randint(0, 2)).check()


@pytest.mark.parametrize("spare", [0.0, 0.5])
def test_a_neighbour_that_diverges_or_is_replaced_changes_nothing(spare):
    wild = {"bad": config(50, "rnn", 1e30, optimizer={"name": "sgd", "learning_rate": 1e30})}
    calm = {
        name: config(name, "rnn", optimizer={"name": "sgd", "learning_rate": 1e-2})
        for name in range(6)
    }
    host = Host(3, spare).run(wild | calm)
    divergence = host.ends["bad"].divergence
    assert 1 < divergence.step < 7
    assert host.curves["bad"] == alone(wild["bad"])[0]
    assert "valid/loss" not in host.curves["bad"][-1][1]
    del host.trials["bad"]
    host.check()


def test_a_trial_that_is_withdrawn_can_be_taken_up_from_its_last_state():
    trials = [config(seed) for seed in range(3)]
    pack = ContinuousPack("cpu")
    for name, trial in enumerate(trials):
        pack.admit(name, Stretch(trial, STEPS, checkpoint_every_s=0))
    for _ in range(6):
        pack.step()
    stretch = pack.stretches[1]
    assert stretch.state.step == 4
    pack.withdraw(1)
    points = {}
    for step in range(30):
        if step == 3:
            pack.admit(1, stretch)
        for told in pack.step():
            points.setdefault(told.key, []).append(untimed(told.point))
    whole = alone(trials[1], [STEPS])[0]
    assert points[1] == whole[1:]
    for name in (0, 2):
        assert points[name] == alone(trials[name], [STEPS])[0][1:]


def test_a_stretch_with_nothing_left_to_train_is_over_at_once():
    trial = config(0)
    pack = Pack([trial])
    assert list(pack.train())
    state = pack.slot_state(0)
    hosted = ContinuousPack("cpu")
    hosted.admit("again", Stretch(trial, STEPS, state))
    (told,) = hosted.step()
    assert (told.point, told.over, told.state) == (None, True, state)
    assert hosted.stretches == {}
    assert hosted.test(state) == pack.test()[0]


def test_points_come_with_a_state_when_one_is_due():
    pack = ContinuousPack("cpu")
    pack.admit("often", Stretch(config(0), STEPS, checkpoint_every_s=0))
    pack.admit("seldom", Stretch(config(1), STEPS, checkpoint_every_s=1e9))
    told = [one for _ in range(STEPS) for one in pack.step()]
    with_state = {(one.key, one.point.step) for one in told if one.state is not None}
    assert with_state == {("often", step) for step in (4, 8, 12, STEPS)} | {("seldom", STEPS)}


def test_after_an_error_every_stretch_is_as_it_was_last_told(monkeypatch):
    trials = {name: config(name) for name in range(3)}
    pack = ContinuousPack("cpu")
    for name, trial in trials.items():
        pack.admit(name, Stretch(trial, STEPS, checkpoint_every_s=0))
    told = [one for _ in range(5) for one in pack.step()]
    with monkeypatch.context() as patch:
        patch.setattr(Pack, "points", lambda *_, **__: 1 / 0)
        for _ in range(2):
            assert pack.step() == []
        with pytest.raises(ZeroDivisionError):
            pack.step()
    again = ContinuousPack("cpu")
    for name, stretch in pack.stretches.items():
        assert stretch.state.step == 4
        again.admit(name, stretch)
    told += [one for _ in range(STEPS) for one in again.step()]
    for name, trial in trials.items():
        points = [untimed(one.point) for one in told if one.key == name]
        assert points == alone(trial, [STEPS])[0]


def test_a_state_moves_between_a_pack_and_a_trial_alone():
    trials = [config(seed) for seed in range(3)]
    packed = Pack(trials)
    list(packed.train(7))
    single = Pack([trials[1]])
    single.restore(packed.checkpoint(1))
    assert packed.checkpoint(1) == alone(trials[1], [7])[2]
    back = Pack(trials, states=[None, single.slot_state(0), packed.slot_state(2)])
    assert back.steps_done == [0, 7, 7]
    with pytest.raises(ValueError, match="equally far"):
        next(back.train())
    with pytest.raises(ValueError, match="another configuration"):
        back.restore(packed.checkpoint(1), slot=0)


def test_an_idle_slot_is_left_where_it_is_and_neither_diverges_nor_stops_others():
    trials = [config(seed) for seed in range(2)]
    pack = Pack(trials)
    pack.idle[0] = True
    with torch.no_grad():
        pack.model.readout_weight[0] = float("nan")
    for _ in range(4):
        pack.train_step()
    assert pack.steps_done == [0, 4]
    assert pack.divergences == [None, None]
    assert untimed(pack.points([1], valid=True)[0]) == alone(trials[1], [4])[0][0]
