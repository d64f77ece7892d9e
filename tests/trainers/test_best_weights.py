"""Which weights of a trial are kept and tested: those of the point that the metric selects."""

import math

import pytest
import torch

from longhaul_trainers.errors import SettingError
from longhaul_trainers.training.continuous_pack import ContinuousPack, Stretch
from longhaul_trainers.training.pack import Pack
from longhaul_trainers.training.settings import TrialConfig
from longhaul_trainers.training.slot_state import SlotState


def config(select, seed=0, rate=0.03):
    """A trial that learns so fast that its loss and its accuracy are best at different points."""
    training = {
        "steps": 40,
        "batch_size": 4,
        "evaluate_every": 2,
        "validation_size": 20,
        "test_size": 20,
        "optimizer": {"name": "rmsprop", "learning_rate": rate},
        "select": select,
    }
    cell = {"name": "rnn", "hidden_size": 12}
    task = {"name": "copying", "delay": 2}
    return TrialConfig.parse({"task": task, "cell": cell, "training": training, "seed": seed})


def trained(trial):
    """The points of a trial alone, and the weights at each."""
    pack, points = Pack([trial]), []
    for (point,) in pack.train():
        weights = {name: one[0].clone() for name, one in pack.model.state_dict().items()}
        points.append((point, weights))
    return pack, points


def chosen(points, select):
    """The first of the points that are best, told from the curve alone."""
    sign = -1 if select == "accuracy" else 1
    return min(points, key=lambda one: sign * one[0].metrics[f"valid/{select}"])


@pytest.mark.parametrize("select", ["loss", "accuracy"])
def test_the_weights_are_those_of_the_best_point_by_the_metric_that_selects(select):
    pack, points = trained(config(select))
    by_loss, by_accuracy = (chosen(points, metric)[0].step for metric in ("loss", "accuracy"))
    assert by_loss != by_accuracy  # else this tells nothing
    point, weights = chosen(points, select)
    assert pack.best_step == [point.step]
    assert pack.best_loss == [point.metrics["valid/loss"]]
    kept = pack.best_weights(0)
    assert all(torch.equal(kept[name], one) for name, one in weights.items())
    again = Pack([config(select)])
    again.model.load_state_dict({name: one[None] for name, one in weights.items()})
    outputs, targets = (
        again.model(again.task.evaluation_set("test", 20).inputs.unsqueeze(1))[0],
        again.task.evaluation_set("test", 20).targets,
    )
    assert pack.test()[0]["test/accuracy"] == pytest.approx(
        again.task.metrics(outputs, targets)["accuracy"].item()
    )


def test_the_choice_is_the_same_in_a_pack_and_after_a_checkpoint():
    trials = [config("accuracy", seed, rate) for seed, rate in enumerate((0.03, 0.01, 0.1))]
    alone = [trained(trial)[0] for trial in trials]
    together = Pack(trials)
    for _ in together.train(until=20):
        pass
    moved = Pack(
        trials, states=[SlotState.from_checkpoint(together.checkpoint(p)) for p in range(3)]
    )
    for _ in moved.train():
        pass
    for p, pack in enumerate(alone):
        assert (moved.best_step[p], moved.best_loss[p]) == (pack.best_step[0], pack.best_loss[0])
        assert moved.test()[p] == pack.test()[0]


def test_a_hosted_trial_is_tested_with_the_weights_that_were_selected():
    trial = config("accuracy")
    pack = ContinuousPack("cpu")
    pack.admit("one", Stretch(trial, 40))
    state = None
    while state is None or state.step < 40:
        (progress, *_) = pack.step() or [None]
        state = progress.state if progress else state
    alone = trained(trial)[0]
    assert (state.best_step, state.best_loss) == (alone.best_step[0], alone.best_loss[0])
    assert pack.test(state) == alone.test()[0]


def test_a_checkpoint_from_before_there_was_a_choice_chose_by_the_loss():
    pack, _ = trained(config(None))
    files = dict(pack.checkpoint())
    text = files["state.json"].decode()
    head, _, tail = text.partition('"best_loss": [')
    files["state.json"] = (head + tail.partition("], ")[2]).encode()
    assert b"best_loss" not in files["state.json"]
    assert SlotState.from_checkpoint(files).best_loss == pack.best_loss[0]


def test_before_the_first_point_nothing_was_chosen():
    assert Pack([config("accuracy")]).best_loss == [math.inf]


def test_what_the_task_does_not_measure_cannot_select():
    with pytest.raises(SettingError, match=r"training\.select: unknown metric 'acuracy'; did you"):
        config("acuracy")
