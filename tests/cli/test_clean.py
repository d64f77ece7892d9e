"""``longhaul clean`` tells first, removes when told to, and never what is needed."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner

from longhaul import cleaning
from longhaul.cleaning import parse_age
from longhaul.cli.main import main
from longhaul.errors import RequestError
from longhaul.ledger import Ledger
from longhaul.search.scratch import abandoned_scratch, scratch_prefix
from longhaul.tracking import Lag

NEEDED = ["spec.yaml", "environment.json", "events", "config.yaml", "history", "result.json"]


@pytest.fixture
def clean(whole_search, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    for number in (1, 4, 6):
        for step in (50, 100):
            folder = whole_search.ledger.trial(number)
            folder.save_checkpoint(step, {"state": bytes(1000 * (number + 1))})

    def run(*words, status=0):
        result = CliRunner().invoke(
            main, ["clean", *words, "--json", "--storage", str(whole_search.storage)]
        )
        assert result.exit_code == status, result.output
        return json.loads(result.stdout) if status == 0 else result.stderr

    run.ledger = whole_search.ledger
    run.root = whole_search.storage / "toy"
    return run


def files(folder):
    return {str(one.relative_to(folder)) for one in folder.rglob("*") if one.is_file()}


def weights(clean):
    return [n for n in range(8) if clean.ledger.trial(n).weights() is not None]


def test_without_yes_nothing_is_touched(clean):
    before = files(clean.root)
    told = clean()
    assert told["removed"] is False
    assert {one["what"] for one in told["spare"]} == {
        "checkpoints of trials that have ended",
        "weights of trials that are not the best",
    }
    assert told["bytes"] > 2 * (2000 + 5000 + 7000)
    assert files(clean.root) == before


def test_what_goes_is_what_was_told_and_what_is_needed_stays(clean):
    before, told = files(clean.root), clean()
    sizes = sum((clean.root / one).stat().st_size for one in before)
    clean("toy", "--yes")
    after = files(clean.root)
    gone = before - after
    assert all("/checkpoint/" in one or "/weights/" in one for one in gone)
    left = sum((clean.root / one).stat().st_size for one in after & before)
    assert sizes - left == told["bytes"]
    assert weights(clean) == [0]  # the best
    for word in NEEDED:
        assert [one for one in before if word in one] == [
            one for one in before if word in one and one in after
        ]
    assert clean()["spare"] == []


@pytest.mark.parametrize(
    ("keep", "expected", "steps"), [("latest", [0, 1, 4], [100]), ("none", [], [])]
)
def test_more_and_less_may_be_kept(clean, keep, expected, steps):
    clean("--keep", keep, "--yes")
    assert weights(clean) == expected
    assert clean.ledger.trial(4).checkpoint_steps() == steps


def test_the_checkpoints_of_a_trial_that_will_go_on_stay(new_search, tmp_path, clean):
    search = new_search("cut")
    search.run(0, "finish")
    search.suggest(1)
    search.start(1)
    for number in (0, 1):
        search.ledger.trial(number).save_checkpoint(50, {"state": b"x"})
    search.give_up("interrupted")
    clean("cut", "--keep", "none", "--yes")
    assert search.ledger.trial(1).checkpoint_steps() == [50]
    assert search.ledger.trial(0).checkpoint_steps() == []


def test_a_search_that_runs_is_left_alone(new_search, clean):
    search = new_search("runs")  # this process owns it
    search.run(0, "stop", 100)
    search.ledger.trial(0).save_checkpoint(50, {"state": b"x"})
    assert {"search": "runs", "reason": "it runs"} in clean("--whole", "--older-than", "0m")["kept"]
    assert "is being run by" in clean("runs", "--yes", status=2)
    found = [one for one in clean()["spare"] if one["search"] == "runs"]
    assert not found
    # begun again between the look and the removal
    spare = cleaning.Spare("runs", "", ("trials/00000/checkpoint",), 0)
    with pytest.raises(RequestError):
        cleaning.remove(str(search.storage), [spare])
    assert search.ledger.trial(0).checkpoint_steps() == [50]


def test_weights_that_mlflow_lacks_stay(clean):
    last = clean.ledger.record().last_event
    lag = Lag(2, 1, {}, 0, "down", datetime.now(UTC), through=last - 2)
    lag.write(clean.ledger.storage)
    told = clean("--yes")
    assert "longhaul sync" in told["kept"][0]["reason"]
    assert weights(clean) == [0, 1, 4]
    Lag(0, 0, {}, 0, None, datetime.now(UTC), through=last).write(clean.ledger.storage)
    clean("--yes")
    assert weights(clean) == [0]


def test_by_age(clean):
    assert clean("--older-than", "1d")["spare"] == []
    assert parse_age("12h") == timedelta(hours=12)
    for text in ("d", "3w", "-1d", ""):
        with pytest.raises(RequestError, match="30d"):
            parse_age(text)


def test_whole_searches_go_only_when_that_is_said(clean):
    assert "name one" in clean("--whole", "--yes", status=2)
    assert clean("toy", "--whole")["spare"][0]["paths"] == [""]
    assert clean.root.exists()
    clean("toy", "--whole", "--yes")
    assert not clean.root.exists()
    assert Ledger.names(str(clean.root.parent)) == []
    assert "no search 'toy'" in clean("toy", status=2)


def test_what_a_dead_driver_left_in_the_folder_of_temporary_files(clean, tmp_path):
    program = "import os; from longhaul.search.scratch import scratch_prefix as p; print(p())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    dead, ours = tmp_path / f"{done.stdout.strip()}abc", tmp_path / f"{scratch_prefix()}abc"
    old, new = tmp_path / "longhaul-tune-x1", tmp_path / "longhaul-tune-x2"
    for folder in (dead, ours, old, new):
        folder.mkdir()
        (folder / "state").write_bytes(bytes(10))
    os.utime(old, (1e9, 1e9))
    (tmp_path / "longhaul-tune-1-1-link").symlink_to(ours)
    assert abandoned_scratch(tmp_path) == sorted([dead, old])
    clean("--yes")
    assert [dead.exists(), ours.exists(), old.exists(), new.exists()] == [False, True, False, True]


def test_people_are_told_what_would_go(clean):
    result = CliRunner().invoke(main, ["clean", "--storage", str(clean.root.parent)])
    assert "KiB would go; --yes removes them" in result.stdout
