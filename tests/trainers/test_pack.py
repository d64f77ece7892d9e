"""Promises of training: the same curve alone, in a pack, resumed, repeated elsewhere."""

import json
import math
import subprocess
import sys

import pytest
import torch

from longhaul_trainers.catalogue import CELLS
from longhaul_trainers.errors import SettingError
from longhaul_trainers.training.pack import Pack
from longhaul_trainers.training.settings import TrialConfig


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def config(
    seed: int = 0, cell: str = "exprnn", rate: float = 3e-3, optimizer: str = "rmsprop", **training
) -> TrialConfig:
    return TrialConfig.parse(
        {
            "task": {"name": "copying", "delay": 8},
            "cell": {"name": cell, "hidden_size": 16},
            "training": {
                "steps": 12,
                "batch_size": 4,
                "evaluate_every": 4,
                "validation_size": 20,
                "test_size": 20,
                "optimizer": {"name": optimizer, "learning_rate": rate},
                **training,
            },
            "seed": seed,
        }
    )


def curve(pack: Pack, until: int | None = None, slot: int = 0) -> list[tuple[int, dict]]:
    return [clocked_out(points[slot]) for points in pack.train(until)]


def clocked_out(point) -> tuple[int, dict]:
    metrics = {k: v for k, v in point.metrics.items() if k != "speed/steps_per_second"}
    return point.step, metrics


@pytest.mark.parametrize("cell", CELLS.names())
def test_a_trial_has_the_same_bits_alone_and_in_any_slot_of_a_pack(cell):
    rates = [1e-3, 3e-3, 1e-4, 2e-3]
    trials = [config(seed, cell, rate) for seed, rate in enumerate(rates)]
    together = list(Pack(trials).train())
    for slot, trial in enumerate(trials):
        alone = curve(Pack([trial]))
        assert [clocked_out(points[slot]) for points in together] == alone
        assert all(math.isfinite(value) for _, metrics in alone for value in metrics.values())


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "rmsprop", "sgd"])
@pytest.mark.parametrize("cell", ["exprnn", "scornn", "lstm", "rnn"])
def test_a_trial_continues_from_a_checkpoint_bit_for_bit(cell, optimizer):
    trial = config(5, cell, optimizer=optimizer, clip_norm=0.5)
    whole = curve(Pack([trial]))
    first = Pack([trial])
    begun = curve(first, until=4)
    files = first.checkpoint()
    second = Pack([trial])
    second.restore(files)
    resumed = begun + curve(second)
    assert resumed == whole
    assert second.test() == (lambda pack: (curve(pack), pack.test())[1])(Pack([trial]))
    assert second.best_step == [min(whole, key=lambda point: point[1]["valid/loss"])[0]]


def test_a_checkpoint_between_two_points_keeps_the_running_means():
    trial = config(2)
    whole = curve(Pack([trial]))
    first = Pack([trial])
    training = first.train()
    next(training)
    for _ in range(2):
        first.train_step()
    second = Pack([trial])
    second.restore(first.checkpoint())
    assert second.step == 6
    assert curve(second) == whole[1:]


def test_another_process_repeats_the_curve_bit_for_bit():
    trial = config(7)
    program = (
        "import json, sys, torch; torch.set_num_threads(1)\n"
        "from longhaul_trainers.training.pack import Pack\n"
        "from longhaul_trainers.training.settings import TrialConfig\n"
        "pack = Pack([TrialConfig.parse(json.load(sys.stdin))])\n"
        "print(json.dumps([[p.step, p.metrics] for (p,) in pack.train()]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps(trial.dump()),
        capture_output=True,
        text=True,
        check=True,
    )
    theirs = [(step, metrics) for step, metrics in json.loads(done.stdout)]
    for _, metrics in theirs:
        del metrics["speed/steps_per_second"]
    assert theirs == curve(Pack([trial]))


def test_seeds_change_the_data_and_the_start():
    one, other = (curve(Pack([config(seed)])) for seed in (0, 1))
    assert one != other
    start = [Pack([config(seed)]).model.readout_weight for seed in (0, 0, 1)]
    assert torch.equal(start[0], start[1])
    assert not torch.equal(start[0], start[2])


def test_training_lowers_the_loss_below_the_baseline():
    pack = Pack([config(0, rate=1e-2, steps=300, evaluate_every=300, batch_size=20)])
    ((_, metrics),) = curve(pack)
    assert metrics["valid/loss"] < 0.8 * pack.task.baseline
    assert metrics["valid/over_baseline"] == metrics["valid/loss"] / pack.task.baseline


def test_a_diverging_trial_ends_at_that_step_and_harms_no_neighbour():
    good, bad = config(0, "rnn"), config(1, "rnn", rate=1e30, optimizer="sgd")
    good = config(0, "rnn", optimizer="sgd")
    alone = curve(Pack([good]))
    pack = Pack([bad, good, bad])
    together = curve(pack, slot=1)
    assert together == alone
    assert pack.divergences[1] is None
    for slot in (0, 2):
        divergence = pack.divergences[slot]
        assert divergence is not None
        assert 1 < divergence.step <= 4
        assert "loss" in divergence.reason or "gradient" in divergence.reason
    assert pack.best_loss[1] == min(metrics["valid/loss"] for _, metrics in alone)
    assert math.isinf(pack.best_loss[0])


def test_a_single_diverged_trial_stops_training_with_a_last_point():
    pack = Pack([config(1, "rnn", rate=1e30, optimizer="sgd")])
    points = curve(pack)
    assert pack.divergences[0].step == points[-1][0] < pack.steps
    assert curve(pack) == []
    restored = Pack(pack.trials)
    restored.restore(pack.checkpoint())
    assert restored.divergences == pack.divergences


def test_a_nan_in_one_slots_parameters_reaches_no_other_slot():
    trials = [config(seed, "lstm") for seed in range(3)]
    clean = list(Pack(trials).train())
    pack = Pack(trials)
    with torch.no_grad():
        for parameter in pack.model.parameters():
            parameter[1].fill_(float("nan"))
    poisoned = list(pack.train())
    assert pack.divergences[1].step == 1
    for slot in (0, 2):
        assert [clocked_out(p[slot]) for p in poisoned] == [clocked_out(p[slot]) for p in clean]


def test_an_exploding_loss_counts_as_diverged_though_it_is_finite():
    pack = Pack([config(0, "rnn", divergence=1.001)])
    with torch.no_grad():
        pack.model.readout_weight *= 1e3
    curve(pack)
    assert "limit" in pack.divergences[0].reason


def test_clipping_bounds_the_step_of_each_slot_alone():
    free, clipped = config(3, optimizer="sgd"), config(3, optimizer="sgd", clip_norm=1e-4)
    pack = Pack([free, clipped])
    before = pack.model.readout_weight.detach().clone()
    pack.train_step()
    moved = (pack.model.readout_weight - before).flatten(1).norm(dim=1)
    assert 0 < moved[1] <= 1.01e-4 * 3e-3
    assert moved[0] > 10 * moved[1]


def test_the_recurrent_group_learns_at_its_ratio():
    slow = TrialConfig.parse(
        config(0, optimizer="sgd").dump()
        | {"cell": {"name": "exprnn", "hidden_size": 16, "learning_rate_ratio": 1e-6}}
    )
    pack = Pack([config(0, optimizer="sgd"), slow])
    before = pack.model.cell.recurrent.matrix().detach().clone()
    for _ in range(3):
        pack.train_step()
    moved = (pack.model.cell.recurrent.matrix() - before).detach().flatten(1).norm(dim=1)
    assert moved[0] > 100 * moved[1]


def test_what_changes_shapes_must_be_equal_in_a_pack():
    with pytest.raises(ValueError, match="structural"):
        Pack([config(0), config(0, "scornn")])
    with pytest.raises(ValueError, match="structural"):
        Pack([config(0), config(0, batch_size=5)])
    Pack([config(0), config(1, clip_norm=1.0)])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda files: files.pop("state.json"), "no state.json"),
        (lambda files: files.update({"state.json": b"{"}), "damaged"),
        (lambda files: files.update({"state.safetensors": b"12345678"}), "damaged"),
        (lambda files: files.update({"state.json": b'{"format": 99}'}), "format"),
    ],
)
def test_a_damaged_checkpoint_is_refused_and_changes_nothing(damage, message):
    trial = config(0)
    files = Pack([trial]).checkpoint()
    damage(files)
    pack = Pack([trial])
    with pytest.raises(ValueError, match=message):
        pack.restore(files)
    assert curve(pack) == curve(Pack([trial]))


def test_a_checkpoint_of_another_configuration_is_refused():
    with pytest.raises(ValueError, match="another configuration"):
        Pack([config(0)]).restore(Pack([config(1)]).checkpoint())
    with pytest.raises(ValueError, match="other tensors"):
        Pack([config(0)]).restore(Pack([config(0, "lstm")]).checkpoint())


def test_a_configuration_survives_its_own_dump_and_takes_its_protocols_defaults():
    trial = TrialConfig.parse({"task": "copying", "cell": "lstm"})
    assert (trial.training.steps, trial.training.batch_size) == (
        Pack([config()]).task.protocol.steps,
        Pack([config()]).task.protocol.batch_size,
    )
    assert TrialConfig.parse(json.loads(json.dumps(trial.dump()))) == trial


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"cell": {"name": "exprn"}}, "cell.name"),
        ({"cell": {"name": "exprnn", "hiden_size": 3}}, "cell.hiden_size"),
        ({"training": {"optimizer": {"name": "adam", "alpha": 0.9}}}, "training.optimizer.alpha"),
        ({"training": {"steps": 0}}, "training.steps"),
        ({"seed": -1}, "seed"),
        ({"extra": 1}, "extra"),
    ],
)
def test_a_wrong_configuration_is_refused_with_its_path(change, path):
    with pytest.raises(SettingError) as caught:
        TrialConfig.parse({"task": "copying", "cell": "lstm"} | change)
    assert caught.value.path == path


def test_a_cell_that_writes_into_its_inputs_is_refused(monkeypatch):
    # A task uses the memory of its batches again, and blanks only what it wrote there itself.
    pack = Pack([config()])
    read = type(pack.model.cell).read

    def spoiling(self, inputs, readout, state=None):
        inputs[:, :, :, 0].add_(1)
        return read(self, inputs, readout, state)

    monkeypatch.setattr(type(pack.model.cell), "read", spoiling)
    with pytest.raises(RuntimeError, match=r"'exprnn' writes into its inputs; .* a copy"):
        pack.train_step()
