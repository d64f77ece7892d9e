"""The files that docs/own-data.md shows, made by its own code and checked by its own command."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from longhaul.cli.main import main
from longhaul_trainers.settings import describe
from longhaul_trainers.tasks.sequences import SequencesSettings
from longhaul_trainers.training.pack import Pack
from longhaul_trainers.training.settings import TrialConfig

PAGE = (Path(__file__).parents[2] / "docs" / "own-data.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.M | re.S)


def blocks(language):
    return [text for found, text in BLOCKS if found == language]


@pytest.fixture
def folder(tmp_path, monkeypatch, capsys):
    """A user's folder after all the page's Python has run there, and what it has printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LONGHAUL_DATA", str(tmp_path))
    (space,) = blocks("yaml")
    Path("waves.yaml").write_text(space, encoding="utf-8")
    for number, code in enumerate(blocks("python")):
        exec(compile(code, f"docs/own-data.md, {number}", "exec"), {})
    Path("printed").write_text(capsys.readouterr().out, encoding="utf-8")
    return tmp_path


def test_the_page_shows_both_files_and_a_space():
    assert len(blocks("yaml")) == 1
    assert len(blocks("python")) == 3
    assert len(blocks("console")) == 1


def test_its_example_is_a_task(folder):
    printed = (folder / "printed").read_text(encoding="utf-8").splitlines()
    assert printed[0].startswith("step")
    assert printed[-1].split()[:4] == ["126", "30", "1", "3"]
    assert (folder / "steps.parquet").is_file()


def test_its_space_is_sound(folder):
    checked = CliRunner().invoke(main, ["check", "waves.yaml", "--json"])
    assert checked.exit_code == 0, checked.output
    assert json.loads(checked.stdout)["task"]["output_size"] == 3


def test_its_waves_are_learnt(folder):
    trial = {
        "task": {"name": "sequences", "file": "waves.npz"},
        "cell": {"name": "gru", "hidden_size": 32},
        "training": {"steps": 150, "optimizer": {"name": "adam", "learning_rate": 0.01}},
    }
    pack = Pack([TrialConfig.parse(trial)])
    accuracy = [points[0].metrics["valid/accuracy"] for points in pack.train()]
    assert max(accuracy) > 0.8


def test_its_parquet_file_is_a_task(folder):
    task = {"name": "sequences", "file": "steps.parquet"}
    trial = {"task": task, "cell": {"name": "gru", "hidden_size": 4}, "training": {"steps": 2}}
    (points,) = list(Pack([TrialConfig.parse(trial)]).train())
    assert points[0].metrics["valid/loss"] > 0


def test_every_setting_is_on_the_page():
    missing = [name for name in describe(SequencesSettings) if f"`{name}`" not in PAGE]
    assert missing == []
