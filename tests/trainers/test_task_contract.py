"""What every task in the catalogue promises, in every protocol.

A new task needs an entry in `PREDICTORS`: what its best memory-less predictor and an oracle that
knows its rule would answer.
"""

import json
import subprocess
import sys

import pytest
import torch
from torch.nn.functional import one_hot

from longhaul_trainers.catalogue import TASKS
from longhaul_trainers.settings import dump, parse, parse_component
from longhaul_trainers.tasks.base import Batch
from longhaul_trainers.tasks.synthetic import SyntheticTask

SURE = 1e4
"""A logit this far above the others is certainty."""


def make(name, protocol):
    settings_type = TASKS.settings_type(name)
    return TASKS.get(name)(parse(settings_type, {"protocol": protocol}))


CASES = [(name, protocol) for name in TASKS.names() for protocol in TASKS.get(name).protocols]


@pytest.fixture(params=CASES, ids="-".join)
def task(request):
    return make(*request.param)


def copying_logits(task, batch, recalled):
    """Sure of the blank at every step but the last ten, which answer ``recalled`` (10, B, O)."""
    blank = torch.zeros(task.length, batch.inputs.shape[1], dtype=torch.int64)
    logits = SURE * one_hot(blank, task.output_size).float()
    logits[-10:] = recalled
    return logits


def copying_memoryless(task, batch):
    recalled = torch.full((10, batch.inputs.shape[1], task.output_size), -SURE)
    recalled[:, :, 1:9] = 0.0
    return copying_logits(task, batch, recalled)


def copying_oracle(task, batch):
    seen = batch.inputs[:10, :, : task.output_size]
    return copying_logits(task, batch, SURE * seen)


def adding_memoryless(task, batch):
    return torch.ones(1, batch.inputs.shape[1], 1)


def adding_oracle(task, batch):
    return batch.inputs.prod(2).sum(0).reshape(1, -1, 1)


PREDICTORS = {
    "adding": (adding_memoryless, adding_oracle),
    "copying": (copying_memoryless, copying_oracle),
}


def losses_in_groups(task, outputs, targets, group):
    """The losses of ``group`` sequences at a time, as independent as the sequences are."""
    pairs = zip(outputs.split(group, dim=1), targets.split(group, dim=1), strict=True)
    return torch.stack([task.loss(*pair) for pair in pairs]).double()


def first_sequences(batch, size):
    return Batch(batch.inputs[:, :size], batch.targets[:, :size])


def equal(one, other):
    return torch.equal(one.inputs, other.inputs) and torch.equal(one.targets, other.targets)


def test_protocols_say_what_they_are(task):
    protocol = task.protocol
    assert type(task).protocols[protocol.name] is protocol
    assert protocol.name == task.settings.protocol
    assert protocol.source
    assert protocol.summary
    assert protocol.batch_size >= 1
    assert protocol.steps >= 1


def test_settings_come_back_from_their_mapping(task):
    assert parse_component(TASKS, dump(task.settings)) == task.settings


def test_batches_have_the_stated_shape(task):
    batch = task.training_batch(seed=1, step=2, batch_size=3)
    assert batch.inputs.shape == (task.length, 3, task.input_size)
    assert batch.inputs.dtype == torch.float32
    steps = task.length if task.reads == "every" else 1
    assert batch.targets.shape[:2] == (steps, 3)
    if batch.targets.dtype == torch.int64:
        assert batch.targets.shape == (steps, 3)
        assert batch.targets.max() < task.output_size
    else:
        assert batch.targets.dtype == torch.float32
        assert batch.targets.shape == (steps, 3, task.output_size)


def test_a_batch_depends_on_seed_and_step_alone(task):
    forwards = [task.training_batch(7, step, 4) for step in range(5)]
    task.evaluation_set("test", 10)
    task.training_batch(8, 2, 9)
    again = type(task)(task.settings)
    for step in (4, 1, 3, 0, 2):
        assert equal(again.training_batch(7, step, 4), forwards[step])
        assert not equal(again.training_batch(8, step, 4), forwards[step])
        assert not equal(again.training_batch(7, step + 1, 4), forwards[step])


def test_a_batch_is_the_callers_own(task):
    batch = task.training_batch(0, 0, 2)
    untouched = task.training_batch(0, 0, 2)
    batch.inputs.fill_(-7.0)
    batch.targets.fill_(3)
    assert equal(task.training_batch(0, 0, 2), untouched)


def test_a_larger_batch_of_a_synthetic_task_begins_with_the_smaller(task):
    if not isinstance(task, SyntheticTask):
        pytest.skip("only promised where sequences are drawn")
    large = task.training_batch(3, 11, 9)
    assert equal(first_sequences(large, 4), task.training_batch(3, 11, 4))


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_larger_evaluation_set_begins_with_the_smaller(task, split):
    large = task.evaluation_set(split, 37)
    assert equal(first_sequences(large, 10), task.evaluation_set(split, 10))
    assert task.evaluation_hash(split, 37) != task.evaluation_hash(split, 10)


def test_no_sequence_is_shared_between_the_splits(task):
    batches = [
        task.training_batch(0, 0, 200),
        task.training_batch(0, 1, 200),
        task.training_batch(1, 0, 200),
        task.evaluation_set("validation", 200),
        task.evaluation_set("test", 200),
    ]
    sequences = torch.cat([batch.inputs for batch in batches], dim=1).flatten(2)
    distinct = torch.unique(sequences.transpose(0, 1).flatten(1), dim=0)
    assert len(distinct) == 1000


def test_memoryless_predictor_reaches_the_baseline(task):
    memoryless, _ = PREDICTORS[task.settings.name]
    batch = task.training_batch(0, 0, 10_000)
    losses = losses_in_groups(task, memoryless(task, batch), batch.targets, group=50)
    error = losses.std() / len(losses) ** 0.5
    # The loss of copying is the same for every sequence, so that its error is mere rounding.
    assert abs(losses.mean() - task.baseline) <= 3 * error + 1e-6 * task.baseline


def test_nothing_learnt_from_the_targets_alone_beats_the_baseline(task):
    fitted = task.training_batch(0, 0, 4000).targets
    batch = task.training_batch(0, 1, 4000)
    if fitted.dtype == torch.int64:
        seen = one_hot(fitted.clamp(min=0), task.output_size).double().mean(1)
        outputs = seen.log().clamp(min=-SURE)
    else:
        outputs = fitted.double().mean(1)
    outputs = outputs.float().unsqueeze(1).expand(-1, 4000, -1)
    losses = losses_in_groups(task, outputs, batch.targets, group=40)
    error = losses.std() / len(losses) ** 0.5
    # A fit to 4000 sequences is a little worse than the best, never better.
    assert -3 * error < losses.mean() - task.baseline < 3 * error + 0.01 * task.baseline


def test_oracle_recovers_the_targets_from_the_inputs(task):
    _, oracle = PREDICTORS[task.settings.name]
    batch = task.training_batch(5, 5, 64)
    outputs = oracle(task, batch)
    assert task.loss(outputs, batch.targets) < 1e-6
    for name, value in task.metrics(outputs, batch.targets).items():
        assert (name, value) == ("accuracy", 1)


def test_loss_is_the_mean_over_the_sequences(task):
    batch = task.training_batch(2, 2, 6)
    read = len(batch.targets)
    outputs = torch.randn(
        read, 6, task.output_size, generator=torch.Generator().manual_seed(1)
    ).requires_grad_()
    loss = task.loss(outputs, batch.targets)
    each = losses_in_groups(task, outputs, batch.targets, group=1)
    assert loss.shape == ()
    assert loss.item() == pytest.approx(each.mean().item(), rel=1e-5)
    loss.backward()
    assert outputs.grad.isfinite().all()


def test_example_is_aligned_text(task):
    lines = task.example().splitlines()
    assert len(lines) >= 3
    assert len(lines[0]) == len(lines[1])
    assert max(map(len, lines)) <= 100


FINGERPRINT = """
import hashlib
import json
import sys
from longhaul_trainers.catalogue import TASKS
from longhaul_trainers.settings import parse

def fingerprint(name, protocol):
    task = TASKS.get(name)(parse(TASKS.settings_type(name), {"protocol": protocol}))
    batch = task.training_batch(4, 17, 5)
    digest = hashlib.sha256(batch.inputs.numpy().tobytes() + batch.targets.numpy().tobytes())
    sets = [task.evaluation_hash(split, 40) for split in ("validation", "test")]
    return [digest.hexdigest(), *sets]
"""


def test_another_process_draws_the_same():
    script = FINGERPRINT + (
        "print(json.dumps([fingerprint(*case) for case in reversed(json.loads(sys.argv[1]))]))"
    )
    # Another order, and another seed of Python's own hashing.
    other = subprocess.run(
        [sys.executable, "-c", script, json.dumps(CASES)],
        capture_output=True,
        text=True,
        check=True,
    )
    scope = {}
    exec(FINGERPRINT, scope)
    here = [scope["fingerprint"](*case) for case in CASES]
    assert json.loads(other.stdout) == here[::-1]
    assert all(len({*hashes}) == 3 for hashes in here)
