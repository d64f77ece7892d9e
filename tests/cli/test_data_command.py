"""``longhaul data``, and what other commands say where data is missing or broken."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from longhaul.cli.main import main
from longhaul_trainers.data import mnist, store


@pytest.fixture
def folder(tmp_path: Path, monkeypatch):
    """A data folder with a small file called mnist.npz."""
    monkeypatch.setattr(store, "_opened", {})
    for part, size in (("train", 30), ("test", 20)):
        monkeypatch.setitem(mnist.SIZES, part, size)
    monkeypatch.setenv("LONGHAUL_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "data").mkdir()
    write(tmp_path / "data" / "mnist.npz")
    return tmp_path / "data"


def write(path: Path, **changes) -> None:
    arrays = {
        "x_train": np.zeros((30, 784), np.uint8),
        "y_train": np.arange(30) % 10,
        "x_test": np.zeros((20, 784), np.uint8),
        "y_test": np.arange(20) % 10,
    }
    np.savez(path, **(arrays | changes))


@pytest.fixture
def run(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def call(*words: str, status: int = 0) -> str:
        result = CliRunner().invoke(main, words)
        assert result.exit_code == status, result.output
        return result.stdout if status in (0, 1) else result.stderr

    return call


def states(run, *words: str, status: int = 0):
    shown = json.loads(run("data", *words, "--json", status=status))
    return {one["name"]: one for one in shown["data"]}


def test_it_lists_what_is_known_and_what_is_there(folder, run):
    listed = states(run)
    assert list(listed) == sorted(listed)
    assert {name: listed[name]["state"] for name in ("cifar10", "digits", "mnist")} == {
        "cifar10": "missing",
        "digits": "bundled",
        "mnist": "found",
    }
    assert listed["mnist"]["files"] == [str(folder / "mnist.npz")]
    assert json.loads(run("data", "--json"))["folder"] == str(folder)
    text = run("data")
    assert f"LONGHAUL_DATA={folder}" in text
    assert "cifar10" in text
    assert not (folder / ".longhaul").exists()  # looking converts nothing


def test_it_says_so_where_no_folder_is_named(folder, run, monkeypatch):
    monkeypatch.delenv("LONGHAUL_DATA")
    assert "LONGHAUL_DATA is not set" in run("data")
    assert states(run)["mnist"]["state"] == "missing"
    assert json.loads(run("data", "--json"))["folder"] is None


@pytest.mark.filterwarnings("ignore::longhaul_trainers.errors.DataWarning")
def test_it_converts(folder, run):
    shown = json.loads(run("data", "convert", "mnist", "--json"))
    assert shown["state"] == "ready"
    converted = Path(shown["converted"])
    assert converted.parent == folder / ".longhaul"
    assert (converted / "train.arrow").is_file()
    assert shown["official"] is False  # 30 black images are not what the literature used
    assert "not what the literature used" in shown["problem"]
    text = run("data", "mnist", "--verify")
    assert str(converted) in text
    assert "CC BY-SA" in text
    assert "another" in text


@pytest.mark.filterwarnings("ignore::longhaul_trainers.errors.DataWarning")
def test_verify_finds_damage_and_exits_with_1(folder, run):
    converted = Path(json.loads(run("data", "convert", "mnist", "--json"))["converted"])
    os.truncate(converted / "test.arrow", 100)
    assert states(run)["mnist"]["state"] == "ready"
    found = states(run, "--verify", status=1)["mnist"]
    assert found["damaged"] is True
    assert "is damaged; it is made anew" in found["problem"]
    assert "damaged" in run("data", "--verify", status=1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["minst"], "unknown data set 'minst'; did you mean 'mnist'?"),
        (["convert"], "expected nothing, NAME, or convert NAME; found 'convert'"),
        (["mnist", "digits"], "found 'mnist digits'"),
        (["convert", "cifar10"], "cifar-10-binary.tar.gz"),
    ],
)
def test_wrong_requests_are_refused(folder, run, words, message):
    said = run("data", *words, status=2)
    assert message in said
    assert "Traceback" not in said


def test_an_unusable_file_is_one_message(folder, run):
    (folder / "mnist.npz").write_bytes((folder / "mnist.npz").read_bytes()[:5000])
    said = run("data", "convert", "mnist", status=2)
    assert said.startswith(f"error: {folder / 'mnist.npz'}: not usable as an npz file")
    assert "Traceback" not in said
    assert list((folder).iterdir()) == [folder / "mnist.npz"]


def test_a_search_without_its_data_is_refused_before_anything_is_written(folder, run, tmp_path):
    (folder / "mnist.npz").unlink()
    said = run("search", "pixels/exprnn", "--storage", str(tmp_path / "runs"), status=2)
    assert said.startswith("error: data set 'mnist' is not there; looked for it in LONGHAUL_DATA=")
    assert "task: {name: pixels, source: digits}" in said
    assert not (tmp_path / "runs").exists()


def test_spaces_are_checked_and_tasks_shown_without_data(folder, run):
    (folder / "mnist.npz").unlink()
    shown = json.loads(run("check", "pixels/exprnn", "--json"))
    assert shown["task"]["length"] == 784
    tasks = json.loads(run("tasks", "pixels", "--json"))
    by_name = {one["name"]: one for one in tasks["protocols"]}
    assert by_name["lezcano-2019"]["selects_on_test"] is True
    assert by_name["lezcano-2019"]["published"][0]["value"] == 0.98
    assert by_name["lezcano-2019"]["baseline_metrics"] == {"accuracy": 0.1135}
    assert "the best on the test set over the epochs" in run("tasks", "pixels")
