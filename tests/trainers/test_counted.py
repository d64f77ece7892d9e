"""Losses over what counts, against loops over what is there; and sums over chunks and packs."""

import math

import pytest
import torch

from longhaul_trainers.catalogue import TASKS
from longhaul_trainers.settings import parse
from longhaul_trainers.tasks.base import IGNORED
from longhaul_trainers.tasks.counted import (
    accuracy,
    cross_entropy,
    frame_likelihood,
    squared_error,
)
from longhaul_trainers.training import evaluation
from longhaul_trainers.training.evaluation import EvaluationSet, evaluate
from longhaul_trainers.training.pack import Pack
from longhaul_trainers.training.settings import TrialConfig

LENGTHS = (5, 2, 7)
STEPS = 7


def drawn(*shape, seed=3):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def padded(values, fill):
    for b, length in enumerate(LENGTHS):
        values[length:, b] = fill
    return values


def there():
    return [(t, b) for b, length in enumerate(LENGTHS) for t in range(length)]


def numbers():
    return padded(drawn(STEPS, 3, 4), math.nan)


def classes():
    return padded(drawn(STEPS, 3).abs().mul(2).long().clamp(max=3), IGNORED)


def bits():
    return padded((drawn(STEPS, 3, 4) > 0).double(), math.nan)


def wanted_error(outputs, targets):
    return sum(((outputs[at] - targets[at]) ** 2).mean() for at in there()) / len(there())


def wanted_entropy(outputs, targets):
    return sum(outputs[at].logsumexp(0) - outputs[at][targets[at]] for at in there()) / len(there())


def wanted_likelihood(outputs, targets):
    total = 0.0
    for at in there():
        for logit, bit in zip(outputs[at].tolist(), targets[at].tolist(), strict=True):
            total -= math.log(1 / (1 + math.exp(-logit if bit else logit)))
    return total / len(there())


CASES = [
    (squared_error, numbers, wanted_error),
    (cross_entropy, classes, wanted_entropy),
    (frame_likelihood, bits, wanted_likelihood),
]


@pytest.mark.parametrize(("loss", "targets", "wanted"), CASES)
def test_loss_is_the_mean_over_what_is_there(loss, targets, wanted):
    outputs = drawn(STEPS, 3, 4, seed=4)
    found = loss(outputs, targets())
    assert found.item() == pytest.approx(float(wanted(outputs, targets())), rel=1e-12)


@pytest.mark.parametrize(("loss", "targets", "_"), CASES)
def test_padding_has_no_gradient_and_no_say(loss, targets, _):
    outputs = padded(drawn(STEPS, 3, 4, seed=4), 1e30).requires_grad_()
    loss(outputs, targets()).backward()
    assert outputs.grad.isfinite().all()
    for b, length in enumerate(LENGTHS):
        assert (outputs.grad[length:, b] == 0).all()
        assert (outputs.grad[:length, b] != 0).all()
    wild = padded(outputs.detach().clone(), math.inf)
    assert loss(wild, targets()) == loss(outputs, targets())


@pytest.mark.parametrize("loss", [squared_error, cross_entropy, frame_likelihood])
def test_nothing_counted_is_zero_with_a_gradient_of_zero(loss):
    outputs = drawn(2, 3, 4).requires_grad_()
    targets = (
        torch.full((2, 3), IGNORED) if loss is cross_entropy else torch.full((2, 3, 4), math.nan)
    )
    found = loss(outputs, targets)
    found.backward()
    assert found == 0
    assert (outputs.grad == 0).all()


def test_accuracy_is_of_what_is_there():
    targets = classes()
    outputs = torch.nn.functional.one_hot(targets.clamp(min=0), 4).double()
    assert accuracy(outputs, targets) == 1
    outputs[0] = outputs[0].roll(1, -1)
    assert accuracy(outputs, targets) == pytest.approx(1 - 3 / 14)


def pack(count, **task):
    trials = [
        {
            "task": {"name": "sequences", **task},
            "cell": {"name": "gru", "hidden_size": 6},
            "training": {
                "steps": 6,
                "batch_size": 5,
                "evaluate_every": 3,
                "validation_size": 12,
                "test_size": 12,
                "optimizer": {"name": "adam", "learning_rate": 0.01 * (1 + seed)},
            },
            "seed": seed,
        }
        for seed in range(count)
    ]
    return Pack([TrialConfig.parse(trial) for trial in trials])


@pytest.mark.parametrize("protocol", ["classification", "forecasting"])
def test_padded_trials_have_the_same_bits_alone_and_in_a_pack(protocol):
    together = [list(point) for point in pack(3, protocol=protocol).train()]
    alone = [list(point) for point in pack(1, protocol=protocol).train()]
    for point, single in zip(together, alone, strict=True):
        measured = {k: v for k, v in point[0].metrics.items() if not k.startswith("speed")}
        assert measured == {k: single[0].metrics[k] for k in measured}


@pytest.mark.parametrize("protocol", ["classification", "forecasting"])
def test_a_set_in_chunks_has_the_loss_of_the_whole(protocol, monkeypatch):
    built = pack(1, protocol=protocol)
    task = TASKS.get("sequences")(parse(TASKS.settings_type("sequences"), {"protocol": protocol}))
    batch = task.evaluation_set("test", 40)

    def data():
        return EvaluationSet(task, "test", 40, 6, torch.device("cpu"))

    whole = evaluate(built.model, task, data())
    monkeypatch.setattr(evaluation, "CHUNK_FLOATS", 7 * 6 * len(batch.inputs))
    sizes = [piece.inputs.shape[1] for run in data().runs() for piece in run]
    assert sizes == [7, 7, 7, 7, 7, 5]
    cut = evaluate(built.model, task, data())
    assert cut.keys() == whole.keys()
    for name, value in cut.items():
        assert value.item() == pytest.approx(whole[name].item(), rel=1e-6)
