"""What every task in the catalogue promises, in every protocol.

A task is covered by ``task_oracles/NAME.py``, which has

* ``SETTINGS``: settings that make the task small, besides the protocol;
* ``memoryless(task, batch)``: the outputs (S, B, O) of the best predictor that remembers nothing;
* ``oracle(task, batch)``: the outputs of the rule itself, applied to the inputs;
* ``counted(task, batch)``: how many steps of each sequence count, as published: a number, or (B,);
  left out where only the files tell, whose tests then say so;
* optionally ``known(task, batch)``: which sequences (B,) have inputs from which their targets can
  be told, where a protocol as published has others, too;
* optionally ``TRAINING_REPEATS = True``, where sequences are so short that some come again, or the
  training set is fixed;
* optionally ``READS_INPUT = True``, where that predictor looks at the present input, so that who
  knows the targets' distribution alone does worse; or the names of the protocols where it does;
* optionally ``RECOVERED``, the share of the targets that the rule tells, where inputs are noisy;
* optionally ``NATURAL = True``, where sequences are found, not made, so that nobody knows their
  rule and there is no ``oracle``: ``memoryless`` has exactly the baseline on the whole test set.
"""

import json
import os
import subprocess
import sys

import pytest
import torch
from oracles import oracles
from torch.nn.functional import one_hot, pad

from longhaul_trainers.catalogue import TASKS
from longhaul_trainers.errors import MissingDataError
from longhaul_trainers.settings import dump, parse, parse_component
from longhaul_trainers.tasks.base import Batch
from longhaul_trainers.tasks.counted import counted
from longhaul_trainers.tasks.synthetic import SyntheticTask

ORACLES = oracles("task")
CASES = [
    (name, ORACLES[name].SETTINGS | {"protocol": protocol})
    for name in TASKS.names()
    if name in ORACLES
    for protocol in TASKS.get(name).protocols
]


def test_every_task_is_covered():
    assert set(TASKS.names()) == set(ORACLES)


def made(name, settings):
    return TASKS.get(name)(parse(TASKS.settings_type(name), settings))


def lacking(task):
    """Which of the task's data is not there; empty if nothing is missing."""
    try:
        task.prepare()
    except MissingDataError as error:
        return str(error).splitlines()[0]
    return ""


def task_of(request):
    task = made(*request.param)
    if missing := lacking(task):
        pytest.skip(missing)
    return task


FOUND = [case for case in CASES if getattr(ORACLES[case[0]], "NATURAL", False)]
MADE = [case for case in CASES if case not in FOUND]
IDS = {"ids": lambda case: f"{case[0]}-{case[1]['protocol']}"}

task = pytest.fixture(task_of, params=CASES, **IDS, name="task")
made_task = pytest.fixture(task_of, params=MADE, **IDS, name="made_task")
found_task = pytest.fixture(task_of, params=FOUND, **IDS, name="found_task")


def losses_in_groups(task, outputs, targets, group):
    """The losses of ``group`` sequences at a time, as independent as the sequences are."""
    pairs = zip(outputs.split(group, dim=1), targets.split(group, dim=1), strict=True)
    return torch.stack([task.loss(*pair) for pair in pairs]).double()


def classes(task, targets):
    """Classes of one question; a step asks as many questions as the last dimension has."""
    assert task.output_size % questions(targets) == 0
    return task.output_size // questions(targets)


def questions(targets):
    return targets.shape[2] if targets.dim() == 3 else 1


def first_sequences(batch, size):
    return Batch(batch.inputs[:, :size], batch.targets[:, :size])


def equal(one, other):
    pairs = ((one.inputs, other.inputs), (one.targets, other.targets))
    same = [a.shape == b.shape and torch.allclose(a, b, 0, 0, equal_nan=True) for a, b in pairs]
    return all(same)


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
        assert batch.targets.dim() in (2, 3)
        asked = batch.targets[counted(batch.targets)]
        assert asked.min() >= 0
        assert asked.max() < classes(task, batch.targets)
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
        # What a state is carried through has one order, as published.
        assert equal(again.training_batch(8, step, 4), forwards[step]) == task.carries_state
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
    size = min(10, large.inputs.shape[1] - 1)
    assert equal(first_sequences(large, size), task.evaluation_set(split, size))
    assert task.evaluation_hash(split, 37) != task.evaluation_hash(split, size)


def test_an_evaluation_set_in_chunks_is_the_set(task):
    whole = task.evaluation_set("test", 10)
    for sequences in (1, 4, 10, 99):
        chunks = list(task.evaluation_chunks("test", 10, sequences))
        sizes = [chunk.inputs.shape[1] for chunk in chunks]
        assert max(sizes) <= sequences
        parts = [[getattr(chunk, part) for chunk in chunks] for part in ("inputs", "targets")]
        assert equal(Batch(*(torch.cat(part, 1) for part in parts)), whole)


def test_no_sequence_is_shared_between_the_splits(made_task):
    task = made_task
    batches = [task.evaluation_set("validation", 200), task.evaluation_set("test", 200)]
    if not getattr(ORACLES[task.settings.name], "TRAINING_REPEATS", False):
        batches += [task.training_batch(seed, step, 200) for seed, step in ((0, 0), (0, 1), (1, 0))]
    longest = max(len(batch.inputs) for batch in batches)
    # padding goes from the last dimension backwards: nothing for inputs and sequences
    padded = [pad(batch.inputs, (0, 0, 0, 0, 0, longest - len(batch.inputs))) for batch in batches]
    sequences = torch.cat(padded, dim=1).transpose(0, 1).flatten(1)
    assert len(torch.unique(sequences, dim=0)) == sum(batch.inputs.shape[1] for batch in batches)


def test_memoryless_predictor_reaches_the_baseline(made_task):
    task = made_task
    memoryless = ORACLES[task.settings.name].memoryless
    batch = task.training_batch(0, 0, 10_000)
    losses = losses_in_groups(task, memoryless(task, batch), batch.targets, group=50)
    error = losses.std() / len(losses) ** 0.5
    # The loss of copying is the same for every sequence, so that its error is mere rounding.
    assert abs(losses.mean() - task.baseline) <= 3 * error + 1e-6 * task.baseline


def test_memoryless_predictor_has_the_baseline_on_the_test_set_of_what_is_found(found_task):
    task = found_task
    batch = task.evaluation_set("test", 10**9)
    outputs = ORACLES[task.settings.name].memoryless(task, batch)
    targets = batch.targets.double() if batch.targets.is_floating_point() else batch.targets
    assert task.loss(outputs, targets).item() == pytest.approx(task.baseline, rel=1e-6)


def test_nothing_learnt_from_the_targets_alone_beats_the_baseline(made_task):
    task = made_task
    fitted = task.training_batch(0, 0, 4000).targets
    batch = task.training_batch(0, 1, 4000)
    if fitted.dtype == torch.int64:
        asked = counted(fitted).unsqueeze(-1)
        seen = one_hot(fitted.clamp(min=0), classes(task, fitted)) * asked
        # A class that the fit never saw is very unlikely, not impossible.
        shares = seen.sum(1).double() + 1e-3
        outputs = (shares / shares.sum(-1, keepdim=True)).log().flatten(1)
    else:
        outputs = fitted.double().mean(1)
    outputs = outputs.float().unsqueeze(1).expand(-1, 4000, -1)
    losses = losses_in_groups(task, outputs, batch.targets, group=40)
    error = losses.std() / len(losses) ** 0.5
    # A fit to 4000 sequences is a little worse than the best, never better.
    assert -3 * error < losses.mean() - task.baseline
    reads = getattr(ORACLES[task.settings.name], "READS_INPUT", False)
    if reads is not True and task.protocol.name not in (reads or ()):
        assert losses.mean() - task.baseline < 3 * error + 0.01 * task.baseline


def test_oracle_recovers_the_targets_from_the_inputs(made_task):
    task = made_task
    module = ORACLES[task.settings.name]
    batch = task.training_batch(5, 5, 64)
    if hasattr(module, "known"):
        known = module.known(task, batch)
        assert known.all() or task.protocol.defects
        assert known.any()
        batch = Batch(batch.inputs[:, known], batch.targets[:, known])
    outputs = module.oracle(task, batch)
    recovered = getattr(module, "RECOVERED", 1)
    assert task.loss(outputs, batch.targets) < 1e-6 or recovered < 1
    assert task.metrics(outputs, batch.targets).get("accuracy", 1) >= recovered


def test_loss_is_the_mean_over_the_sequences(task):
    batch = task.training_batch(2, 2, 6)
    read = len(batch.targets)
    outputs = torch.randn(
        read, 6, task.output_size, generator=torch.Generator().manual_seed(1)
    ).requires_grad_()
    loss = task.loss(outputs, batch.targets)
    each = losses_in_groups(task, outputs, batch.targets, group=1)
    weights = torch.tensor([task.weight(one) for one in batch.targets.split(1, dim=1)])
    assert weights.sum() == task.weight(batch.targets)
    assert loss.shape == ()
    mean = (weights * each).sum() / weights.sum()
    assert loss.item() == pytest.approx(mean.item(), rel=1e-5)
    loss.backward()
    assert outputs.grad.isfinite().all()


def test_as_many_steps_count_as_were_published(task):
    module = ORACLES[task.settings.name]
    if not hasattr(module, "counted"):
        pytest.skip("only the files tell")
    for batch in (task.training_batch(3, 1, 5), task.evaluation_set("test", 5)):
        mask = counted(batch.targets)
        steps = mask.flatten(2).all(2) if mask.dim() == 3 else mask
        wanted = torch.as_tensor(module.counted(task, batch)).expand(mask.shape[1])
        assert steps.sum(0).tolist() == wanted.tolist()
        # what does not count has no part in the loss
        outputs = torch.randn(*batch.targets.shape[:2], task.output_size)
        other = torch.where(steps[..., None], outputs, torch.randn_like(outputs))
        assert task.loss(outputs, batch.targets) == task.loss(other, batch.targets)


def test_what_is_measured_has_a_direction_and_says_when_the_task_is_solved(task):
    batch = task.training_batch(0, 0, 3)
    outputs = torch.zeros(*batch.targets.shape[:2], task.output_size)
    means = {"loss": task.loss(outputs, batch.targets), **task.metrics(outputs, batch.targets)}
    assert set(task.summary(means)) == set(task.better)
    assert set(task.better.values()) <= {"lower", "higher"}
    assert task.solved.metric in {*task.better, "over_baseline"}
    assert task.solved.bound > 0
    assert task.solved.source


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

def fingerprint(name, settings):
    task = TASKS.get(name)(parse(TASKS.settings_type(name), settings))
    batch = task.training_batch(4, 17, 5)
    digest = hashlib.sha256(batch.inputs.numpy().tobytes() + batch.targets.numpy().tobytes())
    sets = [task.evaluation_hash(split, 40) for split in ("validation", "test")]
    return [digest.hexdigest(), *sets]
"""


def test_another_process_draws_the_same():
    cases = [case for case in CASES if not lacking(made(*case))]
    script = FINGERPRINT + (
        "print(json.dumps([fingerprint(*case) for case in reversed(json.loads(sys.argv[1]))]))"
    )
    # Another order, another number of threads, and another seed of Python's own hashing.
    other = subprocess.run(
        [sys.executable, "-c", script, json.dumps(cases)],
        env=os.environ | {"OMP_NUM_THREADS": "3", "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    scope = {}
    exec(FINGERPRINT, scope)
    here = [scope["fingerprint"](*case) for case in cases]
    assert json.loads(other.stdout) == here[::-1]
    assert all(len({*hashes}) == 3 for hashes in here)
