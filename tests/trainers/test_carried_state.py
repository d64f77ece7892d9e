"""Truncated back-propagation with a carried state: plain loops, equal bits."""

import copy
import math
import random
from collections.abc import Hashable

import pytest
import torch

from longhaul_trainers.catalogue import CELLS
from longhaul_trainers.cells.base import Cell
from longhaul_trainers.cells.lstm import LSTM
from longhaul_trainers.errors import SettingError
from longhaul_trainers.tasks.base import Batch
from longhaul_trainers.training import evaluation
from longhaul_trainers.training.continuous_pack import ContinuousPack, Stretch
from longhaul_trainers.training.evaluation import LongSet, evaluate
from longhaul_trainers.training.gradient_flow import gradient_flow
from longhaul_trainers.training.pack import Pack
from longhaul_trainers.training.settings import TrialConfig
from longhaul_trainers.training.slot_state import SlotState

LENGTH, LANES, EPOCH = 6, 3, 4
"""Characters of a batch, its lanes, and batches until the lanes start over."""
STEPS = 2 * EPOCH + 3


@pytest.fixture(autouse=True)
def text(tmp_path, monkeypatch):
    """A text that three lanes pass in four batches; short validation and test parts of 10 lanes."""
    monkeypatch.setenv("LONGHAUL_DATA", str(tmp_path))
    draw = random.Random(3)
    letters = "".join(draw.choice("abcd") for _ in range(700))
    (tmp_path / "letters.txt").write_text(letters, encoding="utf-8")
    monkeypatch.setattr("longhaul_trainers.data.texts.FRACTIONS", (81 / 700, 390 / 700))


def config(seed: int = 0, cell: object = "gru", rate: float = 1e-2, **training) -> TrialConfig:
    settings = cell if isinstance(cell, dict) else {"name": cell, "hidden_size": 16}
    task = {"name": "characters", "protocol": "kerg-2019", "text": "letters.txt", "length": LENGTH}
    return TrialConfig.parse(
        {
            "task": task,
            "cell": settings,
            "training": {
                "steps": STEPS,
                "batch_size": LANES,
                "evaluate_every": 5,
                "diagnose_every": 10,
                "optimizer": {"name": "adam", "learning_rate": rate},
                **training,
            },
            "seed": seed,
        }
    )


def untimed(point):
    metrics = {k: v for k, v in point.metrics.items() if k != "speed/steps_per_second"}
    return point.step, metrics


def curve(pack, until=None, slot=0):
    return [untimed(points[slot]) for points in pack.train(until)]


def kept(pack):
    assert pack._carried is not None
    return pack._carried.tensors()


def end_of(trial):
    """Curve and last checkpoint of a trial that is trained alone."""
    pack = Pack([trial])
    return curve(pack), pack.checkpoint()


def test_the_lanes_are_as_long_as_these_tests_want():
    task = Pack([config()]).task
    assert [step for step in range(STEPS) if task.starts_over(step, LANES)] == [0, 4, 8]


@pytest.mark.parametrize(
    "cell",
    [
        "gru",
        "lmu",
        "slstm",
        {"name": "exprnn", "hidden_size": 16, "initial_state": "learned"},
        {"name": "lru", "hidden_size": 16, "layers": 2},
    ],
)
def test_each_batch_goes_on_where_the_last_one_ended_and_no_gradient_goes_back(cell):
    pack = Pack([config(cell=cell)])
    state = None
    for step in range(STEPS):
        plain = copy.deepcopy(pack.model)
        batch = pack.task.training_batch(0, step, LANES)
        if step % EPOCH == 0:
            state = None
        outputs, after = plain.run(batch.inputs.unsqueeze(1), state)
        loss = pack.task.loss(outputs[0], batch.targets)
        loss.backward()
        state = tuple(one.detach() for one in after)
        pack.train_step()
        for theirs, mine in zip(plain.parameters(), pack.model.parameters(), strict=True):
            expected = torch.zeros_like(mine) if theirs.grad is None else theirs.grad
            torch.testing.assert_close(mine.grad, expected, rtol=1e-5, atol=1e-7)
    assert state is not None
    assert any(one.abs().max() > 0 for one in state)


def test_what_came_before_is_read(monkeypatch):
    carried = Pack([config()])
    forgetful = Pack([config()])
    monkeypatch.setattr(forgetful.task, "starts_over", lambda step, batch_size: True)
    losses = []
    for pack in (carried, forgetful):
        pack.train_step()
        first = pack._sums[0].item()
        pack.train_step()
        losses.append((first, pack._sums[0].item()))
    assert losses[0][0] == losses[1][0]
    assert losses[0][1] != losses[1][1]


@pytest.mark.parametrize("cell", CELLS.names())
def test_a_slot_has_its_bits_beside_others_that_stand_elsewhere_in_their_texts(cell):
    trials = [config(seed, cell, rate=10 ** -(2 + seed)) for seed in range(2)]
    begun, ends = [], []
    for trial, at in zip(trials, (3, 1), strict=True):
        alone = Pack([trial])
        for step in range(5):
            if step == at:
                begun.append(alone.slot_state(0))
            alone.train_step()
        ends.append(alone.slot_state(0).tensors)
    pack = Pack(trials, states=begun)
    while min(pack.steps_done) < 5:
        pack.train_step()
        for p, step in enumerate(pack.steps_done):
            if step == 5:
                reached = pack.slot_state(p).tensors
                assert reached.keys() == ends[p].keys()
                assert all(torch.equal(reached[name], one) for name, one in ends[p].items())


@pytest.mark.parametrize("slots", [1, 2, 4])
def test_trials_that_come_and_go_have_the_bits_that_they_have_alone(slots):
    chance = random.Random(slots)
    trials = {seed: config(seed, rate=10 ** chance.uniform(-4, -1)) for seed in range(6)}
    pack = ContinuousPack("cpu", spare=0.5)
    waiting: list[tuple[Hashable, SlotState | None]] = [(name, None) for name in trials]
    curves: dict[Hashable, list] = {name: [] for name in trials}
    ends = {}
    while len(ends) < len(trials):
        while waiting and len(pack.stretches) < slots:
            name, state = waiting.pop(0)
            until = min(STEPS, (state.step if state else 0) + chance.randint(1, 2) * 5)
            pack.admit(name, Stretch(trials[int(str(name))], until, state))
        for told in pack.step():
            curves[told.key].append(untimed(told.point))
            if told.over and told.state is not None:
                files = told.state.checkpoint()
                if told.state.step < STEPS:
                    waiting.append((told.key, SlotState.from_checkpoint(files)))
                else:
                    ends[told.key] = files
    for name, trial in trials.items():
        assert (curves[name], ends[name]) == end_of(trial)


@pytest.mark.parametrize("step", [2, 4, 6])
@pytest.mark.parametrize("cell", ["gru", "slstm", "unicornn"])
def test_a_trial_is_taken_up_in_the_middle_of_its_text(step, cell):
    trial = config(4, cell)
    whole, checkpoint = end_of(trial)
    first = Pack([trial])
    if step > 5:
        next(first.train())
    while first.step < step:
        first.train_step()
    files = first.checkpoint()
    second = Pack([config(9, cell), trial])
    second.restore(files, slot=1)
    moved = Pack([trial], states=[second.slot_state(1)])
    rest = curve(moved)
    assert rest == [point for point in whole if point[0] > step]
    assert moved.checkpoint() == checkpoint


def test_a_neighbour_without_numbers_in_its_state_changes_nothing():
    trials = [config(seed, "lstm") for seed in range(3)]
    clean = list(Pack(trials).train())
    pack = Pack(trials)
    pack.train_step()
    for tensor in kept(pack).values():
        tensor[1].fill_(float("nan"))
    poisoned = list(pack.train())
    assert pack.divergences[1] is not None
    assert pack.divergences[1].step == 2
    for slot in (0, 2):
        assert [untimed(p[slot]) for p in poisoned] == [untimed(p[slot]) for p in clean]


def test_the_kept_state_holds_on_to_no_batch():
    pack = Pack([config()])
    for _ in range(2):
        pack.train_step()
    (state,) = kept(pack).values()
    assert not state.requires_grad
    assert state.untyped_storage().nbytes() == 4 * LANES * 16


@pytest.mark.parametrize("cell", ["gru", "slstm", "lmu", "lru"])
def test_a_long_set_is_measured_piece_by_piece_as_if_passed_in_one_go(cell, monkeypatch):
    monkeypatch.setattr(evaluation, "CHUNK_FLOATS", 1)
    pack = Pack([config(seed, cell) for seed in range(2)])
    whole = pack.task.evaluation_set("validation", 10)
    data = pack.measure.validation
    assert isinstance(data, LongSet)
    (run,) = data.runs()
    pieces = [len(piece.targets) for piece in run]
    assert pieces == [LENGTH] * 4 + [LENGTH - 1]  # lanes of 30 characters, but for the first one
    measured = evaluate(pack.model, pack.task, data)
    with torch.no_grad():
        outputs = pack.model.eval()(whole.inputs.unsqueeze(1).expand(-1, 2, -1, -1))
    for p in range(2):
        loss = pack.task.loss(outputs[p], whole.targets).item()
        assert measured["loss"][p].item() == pytest.approx(loss, rel=1e-5)
        bits = measured["bits_per_character"][p].item()
        assert bits == pytest.approx(loss / math.log(2), rel=1e-5)


def test_the_gradients_flow_is_looked_at_over_one_training_sequence():
    pack = Pack([config(diagnose_every=5)])
    ((_, metrics),) = curve(pack, 5)
    whole = pack.task.evaluation_set("validation", 10)
    short = Batch(whole.inputs[:LENGTH], whole.targets[:LENGTH])
    flow = gradient_flow(pack.model, pack.task, short)
    assert {f"gradient/{k}": v.item() for k, v in flow.items()} == {
        k: v for k, v in metrics.items() if k.startswith("gradient/state")
    }


def test_a_cell_that_does_not_know_its_initial_state_is_refused(monkeypatch):
    monkeypatch.setattr(LSTM, "initial_state", Cell.initial_state)
    with pytest.raises(SettingError, match="carries the state") as caught:
        config(cell="lstm")
    assert caught.value.path == "cell.name"
