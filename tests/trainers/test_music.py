"""Polyphonic music against the file itself and the authors' way of adding up."""

import math

import numpy as np
import pytest
import torch
from scipy.io import loadmat, savemat

from longhaul_trainers.data.data_set import DataSet
from longhaul_trainers.data.known import DATA_SETS
from longhaul_trainers.data.store import open_data
from longhaul_trainers.errors import MissingDataError, UnusableDataError
from longhaul_trainers.tasks.music import Music, MusicSettings

FILES = {"jsb": "JSB_Chorales.mat", "nottingham": "Nottingham.mat"}
KEYS = {"train": "traindata", "validation": "validdata", "test": "testdata"}


@pytest.fixture(params=FILES)
def collection(request, require_data):
    require_data(request.param)
    return request.param


def pieces(folder, collection, part):
    return list(loadmat(folder / FILES[collection])[KEYS[part]][0])


def music(collection, **settings):
    return Music(MusicSettings(collection=collection, **settings))


def test_sets_are_those_of_the_file(collection, data_folder):
    task = music(collection)
    for part in KEYS:
        held, wanted = task.sequences(part), pieces(data_folder, collection, part)
        assert len(held) == len(wanted)
        assert all(np.array_equal(held[i], one) for i, one in enumerate(wanted))


@pytest.mark.parametrize(("name", "nats"), [("jsb", 11.09), ("nottingham", 10.26)])
def test_baseline_has_the_published_value(name, nats, require_data, data_folder):
    require_data(name)
    train = np.concatenate([one[1:] for one in pieces(data_folder, name, "train")]).astype(float)
    test = np.concatenate([one[1:] for one in pieces(data_folder, name, "test")]).astype(float)
    share = (train.sum(0) + 1) / (len(train) + 2)
    found = -(test * np.log(share) + (1 - test) * np.log(1 - share)).sum(1).mean()
    assert music(name).baseline == pytest.approx(found, rel=1e-8)
    assert round(found, 2) == nats


def test_sizes_are_known_without_the_file_and_right(collection, monkeypatch):
    task = music(collection)
    measured = task.sequences("train").longest - 1
    monkeypatch.delenv("LONGHAUL_DATA")
    unread = music(collection)
    assert unread.length == measured
    assert music(collection, longest_piece=50).length == 50
    assert (unread.input_size, unread.output_size) == (88, 88)
    with pytest.raises(MissingDataError, match="LONGHAUL_DATA is not set"):
        unread.prepare()


def test_every_frame_but_the_first_is_asked_for_once(collection, data_folder):
    task = music(collection)
    batch = task.evaluation_set("test", 10**6)
    wanted = pieces(data_folder, collection, "test")
    for b, piece in enumerate(wanted):
        steps = len(piece) - 1
        assert np.array_equal(batch.inputs[:steps, b].numpy(), piece[:-1])
        assert np.array_equal(batch.targets[:steps, b].numpy(), piece[1:])
        assert (batch.inputs[steps:, b] == 0).all()
        assert batch.targets[steps:, b].isnan().all()
    assert task.weight(batch.targets) == sum(len(piece) - 1 for piece in wanted)


@pytest.mark.parametrize("most", [1, 7, 50, 10**6])
def test_a_cut_training_set_asks_for_the_same_frames(most, require_data, data_folder):
    require_data("jsb")
    task = music("jsb", longest_piece=most)
    whole = pieces(data_folder, "jsb", "train")
    cut = sum(math.ceil((len(piece) - 1) / most) for piece in whole)
    assert task.training_size == cut
    epoch = task.training_batch(3, 0, cut)
    assert task.weight(epoch.targets) == sum(len(piece) - 1 for piece in whole)
    asked = np.concatenate([piece[1:] for piece in whole]).sum(0)
    assert np.array_equal(epoch.targets.nansum((0, 1)).numpy(), asked)


def test_an_epoch_passes_every_piece_once(require_data):
    require_data("jsb")
    task = music("jsb")
    first, second = (task.training_batch(1, step, 229) for step in range(2))
    assert not torch.equal(first.inputs, second.inputs)
    for epoch in (first, second):
        sums = sorted(epoch.inputs.sum((0, 2)).tolist())
        assert sums == sorted(float(task.sequences("train")[i][:-1].sum()) for i in range(229))


def test_loss_adds_up_as_the_authors_evaluate(require_data):
    # The sum over all pieces of -trace(y log(p)^T + (1 - y) log(1 - p)^T), over all frames.
    require_data("jsb")
    task = music("jsb")
    batch = task.evaluation_set("validation", 5)
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(batch.targets.shape, generator=generator, dtype=torch.float64)
    total, frames = 0.0, 0
    for b in range(5):
        y = batch.targets[: len(task.sequences("validation")[b]) - 1, b].double()
        p = logits[: len(y), b].sigmoid()
        total -= torch.trace(y @ p.log().T + (1 - y) @ (1 - p).log().T).item()
        frames += len(y)
    assert task.loss(logits, batch.targets.double()).item() == pytest.approx(total / frames)


def cells(*rolls):
    array = np.empty((1, len(rolls)), dtype=object)
    array[0, :] = list(rolls)
    return array


ROLL = np.zeros((9, 88), dtype=np.uint8)
BROKEN = {
    "no key 'validdata'": {"traindata": cells(ROLL), "testdata": cells(ROLL)},
    "expected cells, one a piece": dict.fromkeys(KEYS.values(), ROLL),
    r"testdata\[1\] is uint8 \(9, 87\)": {
        **dict.fromkeys(KEYS.values(), cells(ROLL)),
        "testdata": cells(ROLL, ROLL[:, 1:]),
    },
    "other values than 0 and 1": dict.fromkeys(KEYS.values(), cells(ROLL + 2)),
}


@pytest.mark.parametrize("problem", BROKEN)
def test_another_file_is_refused_with_the_reason(problem, tmp_path, monkeypatch):
    monkeypatch.setenv("LONGHAUL_DATA", str(tmp_path))
    savemat(tmp_path / "MuseData.mat", BROKEN[problem])
    with pytest.raises(UnusableDataError, match=problem):
        music("muse").prepare()


def test_a_torn_file_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("LONGHAUL_DATA", str(tmp_path))
    whole = tmp_path / "whole.mat"
    savemat(whole, dict.fromkeys(KEYS.values(), cells(ROLL, ROLL)))
    (tmp_path / "Piano_midi.mat").write_bytes(whole.read_bytes()[:-100])
    with pytest.raises(UnusableDataError, match=r"Piano_midi\.mat: not usable"):
        music("piano").prepare()


def test_collections_of_unknown_length_are_measured(tmp_path, monkeypatch):
    monkeypatch.setenv("LONGHAUL_DATA", str(tmp_path))
    savemat(tmp_path / "Piano_midi.mat", dict.fromkeys(KEYS.values(), cells(ROLL, ROLL[:4])))
    assert music("piano").length == 8
    assert music("piano", longest_piece=3).length == 3


def test_every_collection_is_a_data_set():
    for name in ("jsb", "nottingham", "muse", "piano"):
        known = DATA_SETS.get(name)
        assert isinstance(known, DataSet)
        assert known.name == name


def test_content_is_that_of_the_literature(collection, recwarn):
    assert DATA_SETS.get(collection).content_sha256
    open_data(collection)
    assert not [one for one in recwarn if "literature" in str(one.message)]
