"""Fixed training sets: drawn once, the same for all seeds, passed in an order of each epoch."""

import pytest
import torch

from longhaul_trainers.catalogue import TASKS
from longhaul_trainers.settings import parse

SMALL = {
    "fitzhugh_nagumo": {"length": 5},
    "listops": {"max_depth": 4, "max_arguments": 5, "min_length": 14, "max_length": 40},
    "lorenz96": {"length": 5},
    "mnist1d": {},
}
PUBLISHED = {
    "fitzhugh_nagumo": (128, 128, 1024),
    "listops": (96_000, 2000, 2000),
    "lorenz96": (128, 128, 128),
    "mnist1d": (4000, 1000, 1000),
}


def make(name, **settings):
    return TASKS.get(name)(parse(TASKS.settings_type(name), SMALL[name] | settings))


def rows(batch):
    """The sequences of a batch, with their targets, as a list of bytes."""
    inputs, targets = batch.inputs.transpose(0, 1), batch.targets.transpose(0, 1)
    pairs = zip(inputs, targets, strict=True)
    return [one.numpy().tobytes() + other.numpy().tobytes() for one, other in pairs]


def epoch(task, seed, number, batch_size=5):
    steps = task.training_size // batch_size
    batches = [
        task.training_batch(seed, step, batch_size)
        for step in range(number * steps, (number + 1) * steps)
    ]
    return [row for batch in batches for row in rows(batch)]


@pytest.mark.parametrize("name", SMALL)
def test_sets_are_as_large_as_published(name):
    task = TASKS.get(name)(parse(TASKS.settings_type(name), {}))
    protocol = task.protocol
    assert (protocol.training_size, protocol.validation_size, protocol.test_size) == PUBLISHED[name]
    assert task.training_size == PUBLISHED[name][0]


@pytest.mark.parametrize("name", SMALL)
def test_evaluation_sets_hold_no_more_than_published(name):
    task = make(name)
    _, validation, test = PUBLISHED[name]
    assert task.evaluation_set("validation", 5000).inputs.shape[1] == validation
    assert task.evaluation_set("test", 5000).inputs.shape[1] == test
    assert task.evaluation_set("test", 7).inputs.shape[1] == 7


@pytest.mark.parametrize("name", SMALL)
def test_every_epoch_passes_every_sequence_once(name):
    task = make(name, training_size=20)
    first, second = epoch(task, 0, 0), epoch(task, 0, 1)
    assert len(set(first)) == 20
    assert sorted(first) == sorted(second)
    assert first != second


@pytest.mark.parametrize("name", SMALL)
def test_all_seeds_pass_the_same_sequences_in_another_order(name):
    task = make(name, training_size=20)
    one, other = epoch(task, 0, 0), epoch(task, 1, 0)
    assert sorted(one) == sorted(other)
    assert one != other


@pytest.mark.parametrize("name", SMALL)
def test_the_order_does_not_depend_on_the_batch_size(name):
    task = make(name, training_size=20)
    assert epoch(task, 3, 2, batch_size=5) == epoch(task, 3, 2, batch_size=10)


@pytest.mark.parametrize("name", SMALL)
def test_a_larger_training_set_has_the_smaller_ones_sequences(name):
    small, large = (set(epoch(make(name, training_size=size), 0, 0)) for size in (20, 30))
    assert small < large


@pytest.mark.parametrize("name", SMALL)
def test_no_training_sequence_is_an_evaluation_sequence(name):
    task = make(name, training_size=200)
    training = epoch(task, 0, 0)
    evaluation = [*rows(task.evaluation_set("validation", 100))]
    evaluation += rows(task.evaluation_set("test", 100))
    assert len({*training, *evaluation}) == 400


def test_the_kept_training_set_is_of_these_settings_alone():
    tasks = [make("lorenz96", training_size=10, forcing=forcing) for forcing in (0.9, 8.0)]
    means = [task.training_batch(0, 0, 10).inputs.mean() for task in tasks]
    assert means[0] < 2 < means[1]
    assert torch.equal(means[0], tasks[0].training_batch(0, 0, 10).inputs.mean())
