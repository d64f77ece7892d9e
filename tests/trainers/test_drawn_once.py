"""What takes long to draw is kept, and drawn again whenever it cannot be."""

import numpy as np
import pytest

from longhaul_trainers.data.columns import Ragged
from longhaul_trainers.data.drawn import drawn_once

CALLS = []


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    CALLS.clear()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("LONGHAUL_DATA", raising=False)
    return tmp_path / "longhaul" / "data"


def draw():
    CALLS.append(1)
    ragged = Ragged(np.array([5, 6, 7], dtype=np.uint8), np.array([0, 1, 3]))
    return {"training": {"symbols": ragged, "value": np.array([3, 4])}}


def contents(parts):
    table = parts["training"]
    return [one.tolist() for one in table["symbols"]], table["value"].tolist()


def test_the_second_time_it_is_read(cache):
    wanted = contents(drawn_once("some", draw))
    assert contents(drawn_once("some", draw)) == wanted == ([[5], [6, 7]], [3, 4])
    assert len(CALLS) == 1
    assert [one.name for one in cache.iterdir()] == ["some"]


def test_another_name_is_drawn_anew():
    drawn_once("some", draw)
    drawn_once("other", draw)
    assert len(CALLS) == 2


@pytest.mark.parametrize("left", [0, 100])
def test_a_torn_file_is_drawn_again_and_replaced(cache, left):
    wanted = contents(drawn_once("some", draw))
    file = cache / "some" / "training.arrow"
    file.write_bytes(file.read_bytes()[:left])
    assert contents(drawn_once("some", draw)) == wanted
    assert contents(drawn_once("some", draw)) == wanted
    assert len(CALLS) == 2


def test_where_nothing_can_be_written_it_is_drawn_each_time(cache):
    cache.mkdir(parents=True)
    cache.chmod(0o500)
    wanted = contents(drawn_once("some", draw))
    assert contents(drawn_once("some", draw)) == wanted
    assert len(CALLS) == 2
    assert list(cache.iterdir()) == []


def test_the_data_folder_comes_first(tmp_path, monkeypatch, cache):
    folder = tmp_path / "mine"
    folder.mkdir()
    monkeypatch.setenv("LONGHAUL_DATA", str(folder))
    drawn_once("some", draw)
    assert (folder / ".longhaul" / "some" / "training.arrow").exists()
    assert not cache.exists()
