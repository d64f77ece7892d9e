"""Evaluation sets that are too large to be in memory at once are measured all the same."""

import pytest
import torch

from longhaul_trainers.catalogue import TASKS
from longhaul_trainers.settings import parse_component
from longhaul_trainers.tasks import evaluation_hash
from longhaul_trainers.tasks.adding import Adding
from longhaul_trainers.training import evaluation
from longhaul_trainers.training.evaluation import EvaluationSet
from longhaul_trainers.training.pack import Pack
from longhaul_trainers.training.settings import TrialConfig

LARGE = {
    "copying": {"delay": 5},
    "mqar": {"length": 16, "pairs": 2, "vocabulary": 64},
    "pixels": {"source": "digits", "noise": "per_sample", "length": 80},
    "sequences": {"protocol": "classification"},
    "characters": {"protocol": "vorontsov-2017", "length": 40},
}
SIZE = 50


def made(name, settings):
    task = parse_component(TASKS, {"name": name, **settings})
    return TASKS.get(name)(task)


@pytest.mark.parametrize("name", LARGE)
def test_a_hash_does_not_depend_on_how_much_is_in_memory(name, monkeypatch):
    task = made(name, LARGE[name])
    wanted = task.evaluation_hash("test", SIZE)
    batch = task.evaluation_set("test", SIZE)
    most = []

    class Watched(type(task)):
        def evaluation_chunks(self, split, size, sequences):
            for chunk in super().evaluation_chunks(split, size, sequences):
                most.append(chunk.inputs.nbytes)
                yield chunk

    small = (batch.inputs.nbytes + batch.targets.nbytes) // 7
    monkeypatch.setattr(evaluation_hash, "HASHED_BYTES", small)
    assert Watched(task.settings).evaluation_hash("test", SIZE) == wanted
    assert max(most) <= small


def config(**training):
    return TrialConfig.parse(
        {
            "task": {"name": "adding", "length": 30},
            "cell": {"name": "lstm", "hidden_size": 8},
            "training": {
                "steps": 4,
                "batch_size": 4,
                "evaluate_every": 2,
                "validation_size": SIZE,
                "test_size": SIZE,
                **training,
            },
        }
    )


def curve():
    pack = Pack([config()])
    points = [point for (point,) in pack.train()]
    for point in points:
        point.metrics.pop("speed/steps_per_second")
    return points, pack.test()


def test_a_set_that_is_made_anew_gives_the_same_bits_as_one_that_is_kept(monkeypatch):
    monkeypatch.setattr(evaluation, "CHUNK_FLOATS", 30 * 8 * 7)
    made, chunks = [], Adding.evaluation_chunks

    def counted(self, split, size, sequences):
        for chunk in chunks(self, split, size, sequences):
            made.append((split, chunk.inputs.shape[1]))
            yield chunk

    monkeypatch.setattr(Adding, "evaluation_chunks", counted)
    kept = curve()
    passes = [made.count(("validation", 7))]
    monkeypatch.setattr(evaluation, "KEPT_BYTES", 1000)
    assert curve() == kept
    passes.append(made.count(("validation", 7)) - passes[0])
    # twice measured and twice looked at for the gradient's flow, where only one pass was made
    assert passes[1] > passes[0] >= SIZE // 7
    assert {sequences for _, sequences in made} == {1, 7, SIZE % 7}


def test_what_is_made_of_a_wide_set_at_once_is_bounded_by_its_width():
    task = made("mqar", {"length": 64, "pairs": 4, "vocabulary": 8192})
    data = EvaluationSet(task, "validation", SIZE, 16, torch.device("cpu"))
    chunk = data.first()
    assert chunk.inputs.numel() <= evaluation.CHUNK_FLOATS
    assert chunk.inputs.shape[1] == evaluation.CHUNK_FLOATS // (64 * 8192)
