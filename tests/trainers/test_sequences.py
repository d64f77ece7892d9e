"""A user's own sequences: both file forms, splits, scales, and what is refused."""

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from longhaul_trainers.errors import MissingDataError, SettingError, UnusableDataError
from longhaul_trainers.settings import parse
from longhaul_trainers.tasks.base import IGNORED
from longhaul_trainers.tasks.sequences import Sequences, SequencesSettings

LENGTHS = [4, 6, 3, 6, 5, 6, 2, 6, 4, 5]
LABELS = ["b", "a", "c", "a", "b", "c", "a", "b", "c", "a"]
SPLIT = ["train"] * 6 + ["validation"] * 2 + ["test"] * 2


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LONGHAUL_DATA", str(tmp_path))
    return tmp_path


def values():
    return np.random.default_rng(0).normal(5, 3, (10, 6, 2)).astype(np.float32)


def held(**changes):
    inputs = values()
    for one, length in zip(inputs, LENGTHS, strict=True):
        one[length:] = np.nan  # what is behind the end is not looked at
    table = {"inputs": inputs, "labels": LABELS, "lengths": LENGTHS, "split": SPLIT} | changes
    return {key: value for key, value in table.items() if value is not None}


def sequences(**settings):
    return Sequences(parse(SequencesSettings, {"file": "own.npz"} | settings))


def save(folder, **changes):
    np.savez(folder / "own.npz", **held(**changes))


def test_labels_are_asked_for_at_the_last_step_of_each_sequence(folder):
    save(folder)
    batch = sequences(standardize=False).evaluation_set("validation", 5)
    assert batch.inputs.shape == (6, 2, 2)
    for b, (length, label) in enumerate(zip(LENGTHS[6:8], LABELS[6:8], strict=True)):
        assert np.array_equal(batch.inputs[:length, b], values()[6 + b, :length])
        assert (batch.inputs[length:, b] == 0).all()
        targets = batch.targets[:, b].tolist()
        assert targets.pop(length - 1) == "abc".index(label)
        assert targets == [IGNORED] * 5


@pytest.mark.parametrize("horizon", [1, 3])
def test_numbers_are_asked_for_that_come_a_horizon_later(folder, horizon):
    save(folder)
    task = sequences(protocol="forecasting", horizon=horizon, standardize=False)
    batch = task.evaluation_set("test", 2)
    for b, length in enumerate(LENGTHS[8:]):
        asked = length - horizon
        assert np.array_equal(batch.targets[:asked, b], values()[8 + b, horizon:length])
        assert batch.targets[asked:, b].isnan().all()
    assert task.weight(batch.targets) == sum(LENGTHS[8:]) - 2 * horizon
    assert task.length == 6 - horizon


def test_numbers_are_standardised_by_the_training_set_alone(folder):
    save(folder)
    rows = np.concatenate(
        [one[:length] for one, length in zip(values()[:6], LENGTHS, strict=False)]
    )
    task = sequences()
    batch = task.evaluation_set("test", 2)
    for b, length in enumerate(LENGTHS[8:]):
        wanted = (values()[8 + b, :length] - rows.mean(0)) / rows.std(0)
        np.testing.assert_allclose(batch.inputs[:length, b], wanted, rtol=1e-4, atol=1e-5)


def test_what_never_changes_is_not_divided_by_zero(folder):
    inputs = values()
    inputs[:, :, 1] = 7
    save(folder, inputs=inputs, lengths=None)
    batch = sequences().training_batch(0, 0, 6)
    assert (batch.inputs[:, :, 1] == 0).all()


def same(one, other):
    for split in ("validation", "test"):
        a, b = one.evaluation_set(split, 9), other.evaluation_set(split, 9)
        assert np.array_equal(a.inputs, b.inputs)
        assert np.array_equal(a.targets, b.targets)


@pytest.mark.parametrize("kind", [pa.list_, pa.large_list])
def test_a_parquet_file_gives_the_same_as_an_npz_file(folder, kind):
    save(folder)
    rows = [one[:n].tolist() for one, n in zip(values(), LENGTHS, strict=True)]
    columns = {
        "inputs": pa.array(rows, kind(kind(pa.float32()))),
        "labels": LABELS,
        "split": SPLIT,
        "unrelated": [None] * 10,
    }
    parquet.write_table(pa.table(columns), folder / "own.parquet", row_group_size=3)
    same(sequences(), sequences(file="own.parquet"))
    fixed = pa.array(rows, pa.list_(pa.list_(pa.float32(), 2)))
    parquet.write_table(pa.table(columns | {"inputs": fixed}), folder / "fixed.parquet")
    same(sequences(), sequences(file=str(folder / "fixed.parquet")))


def test_one_number_a_step_needs_no_third_dimension(folder):
    save(folder, inputs=values()[:, :, 0], lengths=None)
    rows = {"inputs": values()[:, :, 0].tolist(), "labels": LABELS, "split": SPLIT}
    parquet.write_table(pa.table(rows), folder / "own.parquet")
    assert sequences().input_size == 1
    same(sequences(), sequences(file="own.parquet"))


def members(task):
    """Which of the sequences are in which part, told by their first numbers."""
    firsts = values()[:, 0].tolist()
    parts = {part: task.sequences(part) for part in ("train", "validation", "test")}
    return {
        part: [firsts.index(found[i][0].tolist()) for i in range(len(found))]
        for part, found in parts.items()
    }


def test_the_files_own_split_is_taken_unless_told_otherwise(folder):
    save(folder)
    own = {"train": [*range(6)], "validation": [6, 7], "test": [8, 9]}
    assert members(sequences()) == members(sequences(split="column")) == own
    assert members(sequences(split="random")) != own


def test_a_random_split_is_fixed_by_its_seed_and_shares_nothing(folder):
    save(folder, split=None)
    fractions = {"validation_fraction": 0.3, "test_fraction": 0.2}
    first = members(sequences(**fractions))
    assert {part: len(rows) for part, rows in first.items()} == {
        "train": 5,
        "validation": 3,
        "test": 2,
    }
    assert sorted(row for rows in first.values() for row in rows) == [*range(10)]
    assert members(sequences(**fractions)) == first
    others = [members(sequences(**fractions, split_seed=seed)) for seed in range(1, 4)]
    assert all(other != first for other in others)


def test_one_long_series_is_split_by_time(folder):
    series = np.arange(100.0)
    save(folder, inputs=series[None], labels=None, lengths=None, split=None)
    task = sequences(protocol="forecasting", split="time", standardize=False)
    parts = [task.sequences(part)[0][:, 0].tolist() for part in ("train", "validation", "test")]
    assert parts == [[*range(70)], [*range(70, 85)], [*range(85, 100)]]
    assert "split by task.split: time" in refusal(sequences(protocol="forecasting"))


def test_baselines_are_what_the_training_set_says_of_the_test_set(folder):
    save(folder)
    shares = {"a": 3 / 9, "b": 3 / 9, "c": 3 / 9}  # 2 + 1 of 6 + 3, each
    task = sequences()
    assert task.baseline == pytest.approx(-np.log([shares["c"], shares["a"]]).mean())
    assert task.baseline_metrics == {"accuracy": 0.5}
    task = sequences(protocol="forecasting", standardize=False)
    asked = np.concatenate([one[1:n] for one, n in zip(values(), LENGTHS, strict=True)])
    train, test = asked[: sum(LENGTHS[:6]) - 6], asked[-(sum(LENGTHS[8:]) - 2) :]
    assert task.baseline == pytest.approx(((test - train.mean(0)) ** 2).mean(), rel=1e-5)
    assert task.baseline_metrics["rmse"] == pytest.approx(task.baseline**0.5)


def test_long_training_sequences_are_cut_but_never_those_measured(folder):
    save(folder)
    task = sequences(protocol="forecasting", longest_piece=2)
    assert task.length == 2
    assert task.training_size == sum(-(-(length - 1) // 2) for length in LENGTHS[:6])
    assert len(task.evaluation_set("validation", 2).inputs) == 5


def refusal(task):
    with pytest.raises(UnusableDataError) as caught:
        task.prepare()
    return str(caught.value)


REFUSED = {
    "no key 'inputs'; found labels": {"inputs": None},
    "'inputs' is <U1": {"inputs": np.full((10, 6), "x")},
    r"'inputs' is float32 (10, 6, 2, 1); expected numbers": {"inputs": values()[..., None]},
    "'inputs' of sequence 3 is no finite number": {
        "inputs": np.where(values() == values()[3, 4], np.inf, values())
    },
    "'inputs' holds Python objects": {"inputs": np.array([[1.0], [2.0, 3.0]], dtype=object)},
    "'lengths' is int64 (9,)": {"lengths": LENGTHS[1:]},
    "'lengths' go from 2 to 7; expected 1 to 6": {"lengths": [7, *LENGTHS[1:]]},
    "'labels' has the shape (9,)": {"labels": LABELS[1:]},
    "'labels' are float64": {"labels": np.linspace(0, 1, 10)},
    "no labels; to forecast": {"labels": None},
    "'split' says 'dev'": {"split": ["dev", *SPLIT[1:]]},
    "none of them for the test set": {"split": ["train"] * 8 + ["validation"] * 2},
}


@pytest.mark.parametrize("problem", REFUSED)
def test_a_file_is_refused_with_the_reason(folder, problem):
    save(folder, **REFUSED[problem])
    message = refusal(sequences())
    assert problem in message
    assert "own.npz" in message


PARQUET_REFUSED = {
    "no column 'inputs'; found x": {"x": [1]},
    "column 'inputs' is int64": {"inputs": [1, 2, 3]},
    "expected lists of numbers": {"inputs": [["a"], ["b"], ["c"]]},
    "hold [1, 2] numbers; expected equally many": {"inputs": [[[1.0]], [[1.0, 2.0]], [[1.0]]]},
    "sequence 1 has no steps": {"inputs": [[1.0], [], [2.0]], "labels": [0, 1, 0]},
    "'inputs' has empty values": {"inputs": [[1.0, None], [1.0], [2.0]]},
    "column 'labels' has empty cells": {"inputs": [[1.0]] * 3, "labels": [0, None, 1]},
}


@pytest.mark.parametrize("problem", PARQUET_REFUSED)
def test_a_parquet_file_is_refused_with_the_reason(folder, problem):
    parquet.write_table(pa.table(PARQUET_REFUSED[problem]), folder / "own.parquet")
    assert problem in refusal(sequences(file="own.parquet"))


def test_torn_files_are_refused(folder):
    save(folder)
    whole = (folder / "own.npz").read_bytes()
    (folder / "own.npz").write_bytes(whole[: len(whole) // 2])
    assert "not usable as npz" in refusal(sequences())
    (folder / "own.parquet").write_bytes(b"PAR1 and nothing else")
    assert "not usable as parquet" in refusal(sequences(file="own.parquet"))


def test_a_split_that_the_file_does_not_have_is_refused(folder):
    save(folder, split=None)
    assert "no key or column 'split'" in refusal(sequences(split="column"))


def test_sequences_too_short_for_the_question_are_refused(folder):
    save(folder)
    assert "longer than 5 steps" in refusal(sequences(protocol="forecasting", horizon=5))
    assert "too short" in refusal(sequences(protocol="forecasting", split="time"))


def test_a_missing_file_is_named_with_the_place_it_was_looked_for(folder):
    with pytest.raises(MissingDataError, match=str(folder / "own.npz")):
        sequences().prepare()


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ({"file": "own.csv"}, "file"),
        ({"validation_fraction": 0.5, "test_fraction": 0.5}, "test_fraction"),
        ({"split": "time"}, "split"),
        ({"longest_piece": 5}, "longest_piece"),
        ({"horizon": 0}, "horizon"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings, path):
    with pytest.raises(SettingError) as caught:
        sequences(**settings)
    assert caught.value.path == path
